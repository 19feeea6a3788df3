//go:build !noinspect && !race && (amd64 || arm64)

package inspect

// storeRelaxed and loadRelaxed are single machine words that other goroutines
// read with an atomic load. An atomic store would cost a full barrier, about
// half of what an uncontended lock costs, and buys nothing here: each of these
// stores is followed by the atomic operation that ends its critical section, or
// is only ever compared with a second reading taken later. Where the race
// detector looks, relaxed_race.go uses real atomics.

func storeRelaxed(p *uint64, v uint64) { *p = v }
func loadRelaxed(p *uint64) uint64     { return *p }
