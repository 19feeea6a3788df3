package inspect

type points struct{}
