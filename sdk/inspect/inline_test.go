//go:build !noinspect

package inspect

import (
	"os/exec"
	"strings"
	"testing"
)

// While nobody wants to know the orders of locks, Lock and Unlock pay one look for them.
// A call instead would cost more than all else that they do.
func TestWhatLockPaysForOrdersIsInlined(t *testing.T) {
	out, err := exec.Command("go", "build", "-gcflags=-m", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, function := range []string{"(*named).noteTaking", "(*named).noteHeld", "(*named).noteReleased", "(*named).noteRead"} {
		if !strings.Contains(string(out), "can inline "+function+"\n") {
			t.Errorf("%s is not inlined", function)
		}
	}
}
