package seldom

import (
	"testing"
	"time"
)

func TestCountTellsOnceAMinute(t *testing.T) {
	var c Count
	began := time.Date(2026, 11, 26, 17, 0, 0, 0, time.UTC)
	for _, step := range []struct {
		after time.Duration
		want  int64
	}{
		{0, 1}, {time.Second, 0}, {every - 1, 0}, {every, 3}, {2*every - 1, 0}, {2 * every, 2}, {9 * every, 1},
	} {
		if got := c.Add(began.Add(step.after)); got != step.want {
			t.Errorf("after %v: %d, want %d", step.after, got, step.want)
		}
	}
}
