package main

import (
	"strings"
	"testing"
	"time"
)

// All kinds of shops can be built, serve, and are compared.
func TestATurnOfEach(t *testing.T) {
	*lives, *slice, *each, *clients, *rate = 1, 20*time.Millisecond, 2, 4, 100
	t.Chdir("..") // as the Makefile does
	var out strings.Builder
	if err := run(&out); err != nil {
		t.Fatal(err)
	}
	for _, c := range comparisons {
		for _, one := range c.cases {
			if !strings.Contains(out.String(), "\n| "+one.name+" | ") {
				t.Errorf("nothing is said of %s", one.name)
			}
		}
	}
	if strings.Contains(out.String(), "\n0 spans") {
		t.Error("no span came to the collector")
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

// The ranks are those of published tables of the sign test.
func TestMedianInterval(t *testing.T) {
	for n, want := range map[int][2]int{1: {0, 0}, 2: {0, 1}, 5: {0, 4}, 6: {0, 5}, 8: {0, 7}, 9: {1, 7}, 10: {1, 8}, 20: {5, 14}, 25: {7, 17}, 50: {17, 32}, 100: {39, 60}} {
		if low, high := medianInterval(n); low != want[0] || high != want[1] {
			t.Errorf("of %d values it is %d to %d, want %v", n, low, high, want)
		}
	}
}
