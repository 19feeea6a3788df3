//go:build !noinspect && (race || !(amd64 || arm64))

package inspect

import "sync/atomic"

func storeRelaxed(p *uint64, v uint64) { atomic.StoreUint64(p, v) }
func loadRelaxed(p *uint64) uint64     { return atomic.LoadUint64(p) }
