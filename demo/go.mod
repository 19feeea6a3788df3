module github.com/asyncinspect/asyncinspect/demo

go 1.25.0

require github.com/asyncinspect/asyncinspect/sdk v0.0.0

replace github.com/asyncinspect/asyncinspect/sdk => ../sdk
