package main

import (
	"strings"
	"testing"
	"time"
)

// All kinds of shops can be built, serve, and are compared.
func TestATurnOfEach(t *testing.T) {
	*restarts, *rounds, *turn, *clients, *rate = 1, 1, 50*time.Millisecond, 4, 100
	t.Chdir("..") // as the Makefile does
	var out strings.Builder
	if err := run(&out); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if !strings.Contains(out.String(), "\n| "+c.name+" | ") {
			t.Errorf("nothing is said of %s", c.name)
		}
	}
	if strings.Contains(out.String(), "; 0 spans") {
		t.Error("no span came to the collector")
	}
	if t.Failed() {
		t.Log(out.String())
	}
}
