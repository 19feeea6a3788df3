package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// programsInPages is how the Go of the pages is run, by page and heading, and from the
// second program of a section on by its number. That of the README has a test of its own.
var programsInPages = map[string]func(*testing.T, *collector, string){
	"docs/sdk.md: Tasks":                          runCheckout,
	"docs/sdk.md: Places":                         runPlaces,
	"docs/sdk.md: Locks outside of the process":   runExternalLock,
	"docs/sdk.md: You have OpenTelemetry already": runOwnProvider,
	"docs/sdk.md: When a program ends":            runCommand,
	"docs/sdk.md: When a program ends 2":          runFrozen,
	"docs/sdk.md: Health":                         runHealth,
	"docs/sdk.md: Tests that hang":                runTestsThatHang,
	"README.md: Five minutes to your own service": nil,
}

// Every program in the pages does what its page says.
func TestProgramsInPages(t *testing.T) {
	t.Parallel()
	collector := startCollector(t)
	programs := goOfPages(t)
	for name, program := range programs {
		run, known := programsInPages[name]
		switch {
		case !known:
			t.Errorf("nothing runs the program in %s", name)
		case run != nil:
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				run(t, collector, program)
			})
		}
	}
	for name := range programsInPages {
		if programs[name] == "" {
			t.Errorf("there is no program in %s", name)
		}
	}
}

// goOfPages returns the Go of all pages by page, heading and, from the second program of
// a section on, its number.
func goOfPages(t *testing.T) map[string]string {
	t.Helper()
	programs := make(map[string]string)
	eachPage(t, func(path, text string) {
		for _, section := range strings.Split(text, "\n## ") {
			heading, _, _ := strings.Cut(section, "\n")
			name := path + ": " + heading
			for i, program := range page(section).blocks("", "go") {
				if i > 0 {
					name = fmt.Sprintf("%s: %s %d", path, heading, i+1)
				}
				if programs[name] != "" {
					t.Fatalf("two sections are called %s", name)
				}
				programs[name] = program
			}
		}
	})
	return programs
}

// While the SDK is off, and compiled out, the programs in the pages do what they do
// besides being inspected.
func TestProgramsInPagesWithoutInspection(t *testing.T) {
	t.Parallel()
	const healthTest = `package shop

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

func TestHealth(t *testing.T) {
	ins, err := inspect.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer ins.Shutdown(context.Background())
	mux := http.NewServeMux()
	handleHealth(mux, ins)
	for path, want := range map[string]string{"/livez": "ok", "/readyz": "ok", "/tasks": "[]"} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s answers %d %s", path, w.Code, w.Body)
		}
	}
}
`
	programs := goOfPages(t)
	for _, off := range []struct{ tags, env string }{{"noinspect", ""}, {"", "ASYNC_INSPECT_ENABLED=false"}} {
		for name, test := range map[string]string{
			"docs/sdk.md: Tasks":                          checkoutTest,
			"docs/sdk.md: Health":                         healthTest,
			"docs/sdk.md: Tests that hang":                "", // is a test itself
			"docs/sdk.md: You have OpenTelemetry already": "", // is a program
		} {
			t.Run(off.tags+off.env+" "+name, func(t *testing.T) {
				t.Parallel()
				directory, program := t.TempDir(), programs[name]
				arguments := []string{"test", "-count=1", "-timeout=1m", "-tags=" + off.tags}
				files := map[string]string{"page.go": program, "page_test.go": test}
				switch {
				case strings.HasPrefix(program, "package main"):
					arguments = []string{"run", "-tags=" + off.tags}
				case test == "":
					files = map[string]string{"page_test.go": program}
				}
				for file, text := range files {
					if text != "" {
						writeFile(t, filepath.Join(directory, file), text)
						arguments = append(arguments, filepath.Join(directory, file))
					}
				}
				run := exec.Command("go", arguments...)
				run.Env = append(os.Environ(), off.env)
				if says, err := run.CombinedOutput(); err != nil || program == "" {
					t.Errorf("%v\n%s", err, says)
				}
			})
		}
	}
}

// runCheckout calls the function of the page, once as it is and once while somebody else
// has the lock.
func runCheckout(t *testing.T, c *collector, program string) {
	says, err := goTest(t, c, "tasks-page", program, checkoutTest)
	if err != nil {
		t.Fatalf("%v\n%s", err, says)
	}
	ended(t, c, "tasks-page", "checkout", "completed", 1)
	ended(t, c, "tasks-page", "checkout", "failed", 1)
	ended(t, c, "tasks-page", "pack", "completed", 3)
}

const checkoutTest = `package shop

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

func TestCheckout(t *testing.T) {
	ins, err := inspect.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer ins.Shutdown(context.Background())
	if err := checkout(t.Context(), []string{"a", "b", "c"}); err != nil {
		t.Error(err)
	}
	stock.Lock()
	defer stock.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := checkout(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a lock that is not to be had: %v", err)
	}
}
`

// runPlaces wants a wait in the helper of the page to be at the line of its caller.
func runPlaces(t *testing.T, c *collector, program string) {
	says, err := goTest(t, c, "places-page", program, `package shop

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

func buy(ctx context.Context, p *pool) error { return p.acquire(ctx) }

func TestPlaces(t *testing.T) {
	ins, err := inspect.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer ins.Shutdown(context.Background())
	p := &pool{conns: inspect.NewSemaphore("conns", 1)}
	if err := p.acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	inspect.Go(ctx, "buy", func(ctx context.Context) error { return buy(ctx, p) })
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for _, task := range ins.Tasks() {
			if task.Wait == nil {
				continue
			}
			if at := task.Wait.Place.Function; !strings.HasSuffix(at, ".buy") {
				t.Errorf("it waits in %s", at)
			}
			return
		}
	}
	t.Error("nobody waits")
}
`)
	if err != nil {
		t.Fatalf("%v\n%s", err, says)
	}
}

// runExternalLock lets the report of the page wait, while it has its lock, for another
// lock, whose holder wants that of the report: transient, because of the TTL that the page
// declares, and over when the lock expires. Then the report finds out that its lock is
// gone. A second report has nobody in its way.
func runExternalLock(t *testing.T, c *collector, program string) {
	const stub = "\nfunc write(context.Context) {}\n"
	if !strings.Contains(program, stub) {
		t.Fatalf("the page has no %q any more, which this test replaces", stub)
	}
	test := exec.Command("go", goTestFiles(t, strings.Replace(program, stub, "", 1), `package shop

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// key is one in Redis, which expires.
type key struct {
	taken   chan struct{}
	expired atomic.Bool // once, at least
}

func newKey() *key { return &key{taken: make(chan struct{}, 1)} }

func (k *key) LockContext(ctx context.Context) error {
	select {
	case k.taken <- struct{}{}:
		time.AfterFunc(ttl, func() {
			if k.take() {
				k.expired.Store(true)
			}
		})
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// take takes the key from whoever has it.
func (k *key) take() bool {
	select {
	case <-k.taken:
		return true
	default:
		return false
	}
}

func (k *key) ExtendContext(context.Context) (bool, error) { return !k.expired.Load(), nil }
func (k *key) UnlockContext(context.Context) (bool, error) { return k.take(), nil }

var (
	ins    *inspect.Inspector
	stock  = inspect.NewMutex("stock")
	begun  = make(chan struct{})
	writes int
)

func write(ctx context.Context) {
	if writes++; writes == 1 {
		close(begun)
		if err := stock.LockContext(ctx); err == nil {
			stock.Unlock()
		}
		for !isTold("report", "async_inspect.hold.expired") && ctx.Err() == nil { // it works on without its lock
			time.Sleep(time.Millisecond)
		}
	}
}

func TestReport(t *testing.T) {
	var err error
	if ins, err = inspect.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer ins.Shutdown(context.Background())
	// The stock is locked and unlocked by whoever has it, as the SDK has to see first.
	stock.Lock()
	stock.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()

	first := newKey()
	held := make(chan struct{})
	move := inspect.Go(ctx, "move", func(ctx context.Context) error {
		stock.Lock()
		defer stock.Unlock()
		close(held)
		<-begun
		if err := nightly.Acquire(ctx, first.LockContext); err != nil {
			return err
		}
		return nightly.Release(ctx, func(context.Context) error { return nil }) // the key stays until it expires
	})
	<-held
	stuck := inspect.Go(ctx, "report", func(ctx context.Context) error { return report(ctx, first) })
	for !waitsFor("report", "stock", "move") || !waitsFor("move", "nightly report", "report") {
		if ctx.Err() != nil {
			t.Fatal("the two never wait for each other:", ins.Tasks())
		}
		time.Sleep(time.Millisecond)
	}
	for name, handle := range map[string]*inspect.Handle{"move": move, "report": stuck} {
		if err := handle.Wait(ctx); err != nil {
			t.Errorf("%s ends with %v", name, err)
		}
	}
	if writes != 1 {
		t.Errorf("the report went on without its lock, for %d writes", writes)
	}

	// Afterwards nobody is in the way.
	alone := newKey()
	if err := inspect.Go(ctx, "report alone", func(ctx context.Context) error { return report(ctx, alone) }).Wait(ctx); err != nil {
		t.Error(err)
	}
	if len(alone.taken) != 0 || writes != 1+10 {
		t.Errorf("after %d writes %d keys are left", writes, len(alone.taken))
	}
}

// isTold reports whether the task has the event.
func isTold(task, event string) bool {
	for _, info := range ins.Tasks() {
		for _, p := range info.Points {
			if info.Name == task && p.Name == event {
				return true
			}
		}
	}
	return false
}

// waitsFor reports whether the task waits for a thing that the holder has.
func waitsFor(task, thing, holder string) bool {
	for _, info := range ins.Tasks() {
		if info.Name == task && info.Wait != nil && info.Wait.Resource == thing {
			for _, h := range info.Wait.Holders {
				if h.Task == holder {
					return true
				}
			}
		}
	}
	return false
}
`)...)
	const service = "external-page"
	test.Env = append(append(os.Environ(), sendTo(c, "grpc", "1.0")...), "OTEL_SERVICE_NAME="+service)
	if says, err := test.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, says)
	}
	exported(t, c, "report alone") // the last of them
	var found deadlockSpan
	eventually(t, 30*time.Second, "the deadlock", func() (err error) {
		found, err = c.deadlock(service)
		return err
	})
	if got := found.attributes["async_inspect.deadlock.confidence"]; got != "transient" {
		t.Errorf("it is %q", got)
	}
	if spans, err := os.ReadFile(c.spans); err != nil || !strings.Contains(string(spans), "async_inspect.hold.expired") {
		t.Errorf("no event says that the lock expired (%v)", err)
	}
	ended(t, c, service, "report", "completed", 1)
	ended(t, c, service, "report alone", "completed", 1)
}

// runOwnProvider wants one task, and not two of one process that looks like two.
func runOwnProvider(t *testing.T, c *collector, program string) {
	file := filepath.Join(t.TempDir(), "main.go")
	writeFile(t, file, program)
	run := exec.Command("go", "run", file)
	run.Env = append(os.Environ(), sendTo(c, "grpc", "1.0")...)
	if says, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, says)
	}
	ended(t, c, "shop", "checkout", "completed", 1)
}

// runCommand wants the one task of the command, which takes no second and ends with
// os.Exit, and that the process is not missed afterwards.
func runCommand(t *testing.T, c *collector, program string) {
	file := filepath.Join(t.TempDir(), "main.go")
	writeFile(t, file, program)
	run := exec.Command("go", "run", file)
	run.Env = append(os.Environ(), sendTo(c, "grpc", "1.0")...)
	if says, err := run.CombinedOutput(); err != nil || len(says) != 0 {
		t.Fatalf("%v\n%s", err, says)
	}
	ended(t, c, "nightly", "nightly import", "completed", 1)
	exported(t, c, "nightly import")
}

// runFrozen kills the program of the page after one invocation of its handler. Whatever it
// recorded has to be at the collector by then.
func runFrozen(t *testing.T, c *collector, program string) {
	directory := t.TempDir()
	writeFile(t, filepath.Join(directory, "handler.go"), strings.Replace(program, "package shop", "package main", 1))
	writeFile(t, filepath.Join(directory, "main.go"), `package main

import (
	"context"
	"log"
	"os"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

func main() {
	if _, err := inspect.Start(context.Background(), inspect.WithServiceName("frozen-page"), inspect.WithHeartbeatInterval(10*time.Minute)); err != nil {
		log.Fatal(err)
	}
	if err := handleEvent(context.Background(), event{}); err != nil {
		log.Fatal(err)
	}
	os.Exit(0) // nothing more is sent, as if it were frozen
}
`)
	run := exec.Command("go", "run", filepath.Join(directory, "main.go"), filepath.Join(directory, "handler.go"))
	run.Env = append(os.Environ(), sendTo(c, "grpc", "1.0")...)
	if says, err := run.CombinedOutput(); err != nil || len(says) != 0 {
		t.Fatalf("%v\n%s", err, says)
	}
	ended(t, c, "frozen-page", "event", "completed", 1)
	exported(t, c, "event")
}

// exported waits until the collector has exported a span.
func exported(t *testing.T, c *collector, name string) {
	t.Helper()
	eventually(t, 30*time.Second, "the span of "+name, func() error {
		spans, err := os.ReadFile(c.spans)
		if err == nil && !strings.Contains(string(spans), fmt.Sprintf(`"name":%q`, name)) {
			err = errors.New("none yet")
		}
		return err
	})
}

// runHealth asks the handlers of the page.
func runHealth(t *testing.T, c *collector, program string) {
	says, err := goTest(t, c, "health-page", program, `package shop

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

func TestHealth(t *testing.T) {
	ins, err := inspect.Start(t.Context(), inspect.WithMaxTasks(1))
	if err != nil {
		t.Fatal(err)
	}
	defer ins.Shutdown(t.Context())
	mux := http.NewServeMux()
	handleHealth(mux, ins)
	answers := func(path string, status int, text string) {
		t.Helper()
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != status || !strings.Contains(w.Body.String(), text) {
			t.Errorf("%s answers %d %s, want %d with %q", path, w.Code, w.Body, status, text)
		}
	}
	answers("/livez", 200, "")
	answers("/readyz", 200, "")
	_, task := inspect.Begin(t.Context(), "checkout")
	answers("/livez", 200, "")
	answers("/readyz", 503, "") // it fills the limit
	answers("/tasks", 200, "checkout")
	task.End(nil)
	answers("/readyz", 200, "")
}
`)
	if err != nil {
		t.Fatalf("%v\n%s", err, says)
	}
}

// runTestsThatHang runs the test of the page as it is, and with a task that hangs on a
// lock that it has taken and released once before, which makes the deadlock certain.
func runTestsThatHang(t *testing.T, c *collector, program string) {
	if says, err := goTest(t, c, "tests-page", "", program); err != nil || !strings.Contains(says, "--- PASS: TestPacking") {
		t.Fatalf("%v\n%s", err, says)
	}
	work := "func(context.Context) error { return nil }"
	if !strings.Contains(program, work) {
		t.Fatalf("the task of the page is not %q any more", work)
	}
	hangs := "func(context.Context) error { tape := inspect.NewMutex(\"tape\"); tape.Lock(); tape.Unlock(); tape.Lock(); tape.Lock(); return nil }"
	says, err := goTest(t, c, "tests-page", "", strings.Replace(program, work, hangs, 1))
	for _, want := range []string{"inspecttest: TestPacking hangs in a", "pack", "tape", "page_test.go:"} {
		if err == nil || !strings.Contains(says, want) {
			t.Errorf("%v, and it does not say %q:\n%s", err, want, says)
		}
	}
}

// goTest runs a test of a program, inside this module, which knows the SDK.
func goTest(t *testing.T, c *collector, service, program, test string) (says string, err error) {
	t.Helper()
	run := exec.Command("go", goTestFiles(t, program, test)...)
	run.Env = append(append(os.Environ(), sendTo(c, "grpc", "0.01")...), "OTEL_SERVICE_NAME="+service)
	out, err := run.CombinedOutput()
	return string(out), err
}

// goTestFiles writes a program and its test, and returns the arguments of go that run it.
func goTestFiles(t *testing.T, program, test string) []string {
	t.Helper()
	directory := t.TempDir()
	arguments := []string{"test", "-v", "-count=1", "-timeout=1m"}
	for name, text := range map[string]string{"page.go": program, "page_test.go": test} {
		if text != "" {
			writeFile(t, filepath.Join(directory, name), text)
			arguments = append(arguments, filepath.Join(directory, name))
		}
	}
	return arguments
}

// ended waits until the collector has counted how many tasks ended.
func ended(t *testing.T, c *collector, service, task, state string, want float64) {
	t.Helper()
	eventually(t, 30*time.Second, fmt.Sprintf("%v %s of %s %s", want, task, service, state), func() error {
		n, err := c.sum(endedTasks, map[string]string{"service": service, "task": task, "state": state})
		if err == nil && n != want {
			err = fmt.Errorf("counted %v", n)
		}
		return err
	})
}
