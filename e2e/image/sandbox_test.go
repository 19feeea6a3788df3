package image

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// sandbox is a network of its own, in which the ports of an image are free.
type sandbox struct{ network string }

func newSandbox(t *testing.T) *sandbox {
	t.Helper()
	// The network lives for as long as somebody is in it.
	holder := exec.Command("unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec cat")
	stdin, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	holder.Stderr = os.Stderr
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); _ = holder.Wait() })
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Fatalf("a network of its own: %v %s", err, line)
	}
	return &sandbox{network: fmt.Sprintf("/proc/%d/ns/net", holder.Process.Pid)}
}

// enter is what an engine does, as far as it matters here: localhost has an address, the
// files of the image are read-only, the volume is not, and the process is the user and
// has no privileges.
const enter = `set -e
root=$1 volume=$2 user=$3; shift 3
mkdir -p "$root/proc"
echo "127.0.0.1 localhost" >"$root/etc/hosts"
mount --bind "$root" "$root"
mount --bind /proc "$root/proc"
[ -z "$volume" ] || mount --bind "$volume" "$root/$VOLUME"
mount -o remount,bind,ro "$root"
exec env -i $ENVIRONMENT setpriv --no-new-privs --bounding-set=-all,+sys_chroot,+setuid,+setgid \
  chroot --userspec="$user" --groups= "$root" "$@"`

// command prepares a command in a container of an image. The volume is a directory that
// takes the place of the image's; empty: it has none.
func (s *sandbox) command(i *image, volume string, command ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{
		"--net=" + s.network, "unshare", "--mount", "--propagation", "private", "sh", "-c", enter, "enter", i.root, volume, i.User,
	}, command...)...)
	path := ""
	for path = range i.Volumes {
	}
	cmd.Env = append(os.Environ(), "VOLUME="+path, "ENVIRONMENT="+strings.Join(i.Env, " "))
	return cmd
}

// run runs a command to its end.
func (s *sandbox) run(t *testing.T, i *image, volume string, command ...string) (code int, said string) {
	t.Helper()
	out, err := s.command(i, volume, command...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	return code, string(out)
}

// process is one in a sandbox.
type process struct {
	cmd    *exec.Cmd
	output output
	exited chan struct{}
}

// start starts the command of an image.
func (s *sandbox) start(t *testing.T, i *image, volume string) *process {
	t.Helper()
	p := &process{cmd: s.command(i, volume, append(i.Entrypoint, i.Cmd...)...), exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.exited) }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("%v:\n%s", i.Entrypoint, &p.output)
		}
	})
	return p
}

// stop asks the process to end, as an engine does, and returns its exit code.
func (p *process) stop(t *testing.T, signal os.Signal) int {
	t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(time.Minute):
		t.Fatalf("it does not end:\n%s", &p.output)
		return 0
	}
}

// proc reads a file of the process under /proc.
func (p *process) proc(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// status returns a line of /proc/PID/status.
func (p *process) status(t *testing.T, name string) string {
	t.Helper()
	for line := range strings.Lines(p.proc(t, "status")) {
		if value, found := strings.CutPrefix(line, name+":"); found {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	t.Fatalf("status has no %s", name)
	return ""
}

// listening returns the ports on which anybody in its network can be reached from
// outside, and where each of them listens.
func (p *process) listening(t *testing.T) map[string]bool {
	t.Helper()
	ports := make(map[string]bool)
	for line := range strings.Lines(p.proc(t, "net/tcp") + p.proc(t, "net/tcp6")) {
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[3] != "0A" { // TCP_LISTEN
			continue
		}
		address, port, _ := strings.Cut(fields[1], ":")
		if strings.Trim(address, "0") != "" {
			continue // not on all addresses
		}
		n, err := strconv.ParseUint(port, 16, 16)
		if err != nil {
			t.Fatal(err)
		}
		ports[fmt.Sprintf("%d/tcp", n)] = true
	}
	return ports
}

// eventually polls until check succeeds. The bound is for a machine that is stuck.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// output collects what a process prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

var _ io.Writer = (*output)(nil)

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
