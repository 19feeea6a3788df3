package report

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

func TestTheFirstRefusalOfEachProcessIsNews(t *testing.T) {
	var r Refusals
	a, b, c := Process{"shop", "1", 5}, Process{"shop", "1", 6}, Process{"bank", "2", 7}
	for i, step := range []struct {
		process Process
		after   time.Duration
		news    bool
	}{
		{a, 0, true},
		{a, 2 * time.Second, false},
		{b, 2 * time.Second, true}, // the next start is another process
		{c, 3*time.Second - 1, false},
		{c, 3 * time.Second, true}, // it was not news before
		{c, time.Hour, false},
		{b, time.Hour, false},
		{Process{}, time.Hour, true},
		{Process{"shop", "3", 8}, time.Minute, true}, // the clock was set back
	} {
		require.Equal(t, step.news, r.News(step.process, now.Add(step.after)), "step %d", i)
	}
}

func TestRefusalsForgetTheOldest(t *testing.T) {
	var r Refusals
	process := func(i int) Process { return Process{Service: fmt.Sprint(i), Epoch: 1} }
	at := now
	news := func(i int) bool {
		at = at.Add(refusalPause)
		return r.News(process(i), at)
	}
	for i := range maxRefused {
		require.True(t, news(i))
	}
	require.False(t, news(0))
	require.True(t, news(maxRefused))
	require.Len(t, r.known, maxRefused)
	require.Len(t, r.order, maxRefused)
	require.False(t, news(1))
	require.True(t, news(0))
}

func TestWhatAResourceClaims(t *testing.T) {
	m := pcommon.NewMap()
	require.Equal(t, Process{}, Claimed(m))
	m.PutStr(taskspan.ServiceName, strings.Repeat("ä", 200))
	m.PutInt(taskspan.ServiceInstanceID, 17)
	m.PutStr(taskspan.ProcessEpoch, "yesterday")
	require.Equal(t, Process{Service: strings.Repeat("ä", 128), Instance: "17"}, Claimed(m))
	m.PutInt(taskspan.ProcessEpoch, 9)
	require.EqualValues(t, 9, Claimed(m).Epoch)
}
