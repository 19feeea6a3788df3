package report

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

func TestHoldsKeepTheirOwnEnds(t *testing.T) {
	ends := now.Add(3 * time.Second)
	long := strings.Repeat("x", taskspan.MaxStringBytes+1)
	for name, c := range map[string]struct {
		holds []string
		ends  []int64 // nil: the attribute is absent
		want  []Hold
		drop  Drop
	}{
		"of an old sender": {[]string{"ext:a", "ext:b"}, nil, []Hold{{Resource: "ext:a"}, {Resource: "ext:b"}}, Used},
		"each as declared": {
			[]string{"ext:a", "ext:b", "ext:c"},
			[]int64{taskspan.EndsByRelease, ends.UnixNano(), taskspan.EndsUnknown},
			[]Hold{{Resource: "ext:a", UntilReleased: true}, {Resource: "ext:b", Ends: ends}, {Resource: "ext:c"}},
			Used,
		},
		"after one that is too long": {
			[]string{long, "ext:b"}, []int64{taskspan.EndsByRelease, ends.UnixNano()}, []Hold{{Resource: "ext:b", Ends: ends}}, Used,
		},
		"of another number":   {[]string{"ext:a", "ext:b"}, []int64{taskspan.EndsByRelease}, nil, DropValue},
		"of none":             {[]string{"ext:a"}, []int64{}, nil, DropValue},
		"an impossible value": {[]string{"ext:a"}, []int64{-2}, nil, DropValue},
	} {
		t.Run(name, func(t *testing.T) {
			s := waitSpan()
			if c.ends != nil { // in the order that is harder to read
				list := s.Attributes().PutEmptySlice(taskspan.HoldsEnds)
				for _, n := range c.ends {
					list.AppendEmpty().SetInt(n)
				}
			}
			s.Attributes().Remove(taskspan.Holds)
			list := s.Attributes().PutEmptySlice(taskspan.Holds)
			for _, h := range c.holds {
				list.AppendEmpty().SetStr(h)
			}
			got, drop := Decode(process, s, now)
			require.Equal(t, c.drop, drop)
			if drop == Used {
				require.Equal(t, c.want, got.Task.Holds)
			}
		})
	}
	s := waitSpan()
	s.Attributes().PutStr(taskspan.HoldsEnds, "soon")
	_, drop := Decode(process, s, now)
	require.Equal(t, DropType, drop)
	s.Attributes().PutEmptySlice(taskspan.HoldsEnds).AppendEmpty().SetStr("soon")
	_, drop = Decode(process, s, now)
	require.Equal(t, DropType, drop)
}

func TestManyHoldsAreCutTogetherWithTheirEnds(t *testing.T) {
	s := waitSpan()
	s.Attributes().Remove(taskspan.Holds)
	holds, ends := s.Attributes().PutEmptySlice(taskspan.Holds), s.Attributes().PutEmptySlice(taskspan.HoldsEnds)
	for i := range MaxHolds + 1 {
		holds.AppendEmpty().SetStr("ext:" + string(rune('A'+i)))
		ends.AppendEmpty().SetInt(int64(i + 1))
	}
	got, drop := Decode(process, s, now)
	require.Equal(t, Used, drop)
	require.True(t, got.Shortened)
	require.Len(t, got.Task.Holds, MaxHolds)
	for i, h := range got.Task.Holds {
		require.Equal(t, time.Unix(0, int64(i+1)).UTC(), h.Ends)
	}
}

func TestAWaitSaysThatACallerMayGiveUp(t *testing.T) {
	s := waitSpan()
	got, drop := Decode(process, s, now)
	require.Equal(t, Used, drop)
	require.False(t, got.Wait.Cancellable)
	s.Attributes().PutBool(taskspan.WaitCancellable, true)
	got, drop = Decode(process, s, now)
	require.Equal(t, Used, drop)
	require.True(t, got.Wait.Cancellable)
}
