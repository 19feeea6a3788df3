package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// network is what the processes of a test are connected by: network namespaces, one for
// each host, around a bridge in one more, which is that of the services and of the test.
// The machine's own network has no part in it. Where namespaces cannot be had all hosts
// are this one, and talk over loopback.
type network struct {
	name  string // that all of its namespaces begin with; empty on loopback
	why   error  // there are no namespaces
	first *host  // with the bridge
	hosts int
}

// host is where a process runs.
type host struct {
	namespace string // empty on loopback
	address   string // IP
	link      string // its end on the bridge
	bridge    string // the namespace of that
	ports     int
	client    *http.Client // as seen from the host
}

var loopback = &host{client: http.DefaultClient}

// namespacePrefix and the process id begin the names of all namespaces of these tests.
const namespacePrefix = "asyncinspect-e2e-"

var networks atomic.Int32

func newNetwork(t *testing.T) *network {
	t.Helper()
	if err := canHaveNamespaces(); err != nil {
		t.Logf("all on loopback, without network namespaces: %v", err)
		return &network{why: err, first: loopback}
	}
	n := &network{name: fmt.Sprint(namespacePrefix, os.Getpid(), "-", networks.Add(1))}
	t.Logf("each process in a network namespace, %s-...", n.name)
	n.first = n.add(t)
	must(t, ip("-n", n.first.namespace, "link", "add", "bridge", "type", "bridge"))
	must(t, ip("-n", n.first.namespace, "addr", "add", n.first.address+"/24", "dev", "bridge"))
	must(t, ip("-n", n.first.namespace, "link", "set", "bridge", "up"))
	return n
}

// host adds one to the network.
func (n *network) host(t *testing.T) *host {
	t.Helper()
	if n.name == "" {
		return loopback
	}
	h := n.add(t)
	h.bridge = n.first.namespace
	h.link = fmt.Sprint("host", n.hosts)
	must(t, ip("-n", h.bridge, "link", "add", h.link, "type", "veth", "peer", "name", "eth0", "netns", h.namespace))
	must(t, ip("-n", h.namespace, "addr", "add", h.address+"/24", "dev", "eth0"))
	must(t, ip("-n", h.namespace, "link", "set", "eth0", "up"))
	must(t, ip("-n", h.bridge, "link", "set", h.link, "master", "bridge", "up"))
	return h
}

func (n *network) add(t *testing.T) *host {
	t.Helper()
	n.hosts++
	h := &host{namespace: fmt.Sprint(n.name, "-", n.hosts), address: fmt.Sprint("10.77.0.", n.hosts)}
	transport := &http.Transport{DialContext: h.dial}
	h.client = &http.Client{Transport: transport}
	must(t, ip("netns", "add", h.namespace))
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		must(t, ip("netns", "del", h.namespace))
	})
	must(t, ip("-n", h.namespace, "link", "set", "lo", "up"))
	return h
}

// command is one that runs on the host.
func (h *host) command(program string, arguments ...string) *exec.Cmd {
	if h.namespace == "" {
		return exec.Command(program, arguments...)
	}
	return exec.Command("ip", append([]string{"netns", "exec", h.namespace, program}, arguments...)...)
}

// freeAddress returns one of the host that nothing listens on.
func (h *host) freeAddress(t *testing.T) string {
	t.Helper()
	if h.namespace == "" {
		return freeAddress(t)
	}
	h.ports++
	return fmt.Sprint(h.address, ":", 14000+h.ports)
}

// dial connects from the host.
func (h *host) dial(ctx context.Context, protocol, address string) (conn net.Conn, err error) {
	if h.namespace == "" {
		return new(net.Dialer).DialContext(ctx, protocol, address)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		// A connection belongs to the namespace of the thread that opens it. This one
		// is never unlocked, so it ends with the goroutine.
		runtime.LockOSThread()
		if err = setNamespace("/run/netns/" + h.namespace); err == nil {
			conn, err = new(net.Dialer).DialContext(ctx, protocol, address)
		}
	}()
	<-done
	return conn, err
}

// cut takes the host off the network: packets vanish, nobody is told.
func (h *host) cut(t *testing.T) {
	t.Helper()
	must(t, ip("-n", h.bridge, "link", "set", h.link, "down"))
}

// heal undoes cut.
func (h *host) heal(t *testing.T) {
	t.Helper()
	must(t, ip("-n", h.bridge, "link", "set", h.link, "up"))
}

// canHaveNamespaces says what is missing. The first call also removes what tests left
// that were killed.
var canHaveNamespaces = sync.OnceValue(func() error {
	if os.Geteuid() != 0 {
		return errors.New("they need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return fmt.Errorf("they need iproute2: %w", err)
	}
	if err := removeStaleNamespaces(); err != nil {
		return err
	}
	probe := fmt.Sprint(namespacePrefix, os.Getpid(), "-probe")
	if err := ip("netns", "add", probe); err != nil {
		return err
	}
	return errors.Join(ip("netns", "exec", probe, "true"),
		ip("-n", probe, "link", "add", "bridge", "type", "bridge"),
		ip("-n", probe, "link", "add", "host", "type", "veth", "peer", "name", "eth0"),
		ip("netns", "del", probe))
})

// removeStaleNamespaces removes those of tests that are no more, with the processes in
// them.
func removeStaleNamespaces() error {
	out, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		return fmt.Errorf("ip netns list: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest, ours := strings.CutPrefix(name, namespacePrefix)
		owner, _, _ := strings.Cut(rest, "-")
		pid, err := strconv.Atoi(owner)
		if !ours || err != nil || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			continue
		}
		left, err := exec.Command("ip", "netns", "pids", name).Output()
		if err != nil {
			return fmt.Errorf("ip netns pids %s: %w", name, err)
		}
		for _, field := range strings.Fields(string(left)) {
			if pid, err := strconv.Atoi(field); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if err := ip("netns", "del", name); err != nil {
			return err
		}
	}
	return nil
}

func ip(arguments ...string) error {
	if out, err := exec.Command("ip", arguments...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(arguments, " "), err, out)
	}
	return nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
