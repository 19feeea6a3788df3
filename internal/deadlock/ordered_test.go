package deadlock

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// The fast map agrees with a slice.
func TestOrdered(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		var (
			o      ordered[int, int]
			keys   []int
			values = make(map[int]int)
		)
		for range 400 {
			key, value := rnd.IntN(20), rnd.Int()
			if rnd.IntN(2) == 0 {
				o.put(key, value)
				if !slices.Contains(keys, key) {
					keys = append(keys, key)
				}
				values[key] = value
			} else {
				o.remove(key)
				keys = slices.DeleteFunc(keys, func(k int) bool { return k == key })
				delete(values, key)
			}
			var got []int
			for k, v := range o.all() {
				got = append(got, k)
				require.Equal(t, values[k], v)
			}
			require.Equal(t, keys, append(keys[:0:0], got...))
			require.Equal(t, len(keys), o.len())
			first, any := o.first()
			require.Equal(t, len(keys) > 0, any)
			if any {
				require.Equal(t, keys[0], first)
			}
			_, in := o.get(key)
			require.Equal(t, slices.Contains(keys, key), in)
			require.LessOrEqual(t, len(o.list), 2*20+9, "it does not grow with its history")
		}
	}
}
