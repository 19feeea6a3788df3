package report

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

func TestCallersOfAWait(t *testing.T) {
	long := strings.Repeat("x", taskspan.MaxStringBytes+7)
	for name, c := range map[string]struct {
		came      []string
		want      []Place
		shortened bool
	}{
		"of an old sender": {},
		"both": {
			[]string{"main.(*server).nested shop/main.go:99", "main.main /src/my shop/c:d/main.go:7"},
			[]Place{
				{Function: "main.(*server).nested", File: "shop/main.go", Line: 99},
				{Function: "main.main", File: "/src/my shop/c:d/main.go", Line: 7},
			},
			false,
		},
		"too many": {
			[]string{"a f:1", "b g:2", "c h:3"},
			[]Place{{Function: "a", File: "f", Line: 1}, {Function: "b", File: "g", Line: 2}},
			true,
		},
		"too long":       {[]string{long + " " + long + ":5"}, []Place{{Function: long[:taskspan.MaxStringBytes], File: long[:taskspan.MaxStringBytes], Line: 5}}, true},
		"no file":        {[]string{"main.main", "b g:2"}, []Place{{Function: "b", File: "g", Line: 2}}, true},
		"no line":        {[]string{"a f", "b g:2"}, []Place{{Function: "b", File: "g", Line: 2}}, true},
		"no number":      {[]string{"a f:one", "b g:2"}, []Place{{Function: "b", File: "g", Line: 2}}, true},
		"a negative one": {[]string{"a f:-1", "b g:2"}, []Place{{Function: "b", File: "g", Line: 2}}, true},
		"a huge one":     {[]string{"a f:2147483648", "b g:2147483647"}, []Place{{Function: "b", File: "g", Line: 2147483647}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := waitSpan()
			if c.came != nil {
				list := s.Attributes().PutEmptySlice(taskspan.WaitCallers)
				for _, text := range c.came {
					list.AppendEmpty().SetStr(text)
				}
			}
			r, drop := Decode(process, s, now)
			require.Equal(t, Used, drop)
			require.Equal(t, c.want, r.Wait.Callers)
			require.Equal(t, c.shortened, r.Shortened)
		})
	}
	for _, p := range []Place{{Function: "main.(*server).nested", File: "shop/main.go", Line: 99}, {Function: "f", File: "a b/c.go", Line: 0}} {
		s := waitSpan()
		s.Attributes().PutEmptySlice(taskspan.WaitCallers).AppendEmpty().SetStr(p.Caller())
		r, _ := Decode(process, s, now)
		require.Equal(t, []Place{p}, r.Wait.Callers, "what Caller writes is read again")
	}
	s := waitSpan()
	s.Attributes().PutEmptySlice(taskspan.WaitCallers).AppendEmpty().SetInt(3)
	_, drop := Decode(process, s, now)
	require.Equal(t, DropType, drop)
}
