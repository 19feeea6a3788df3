package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// programsInPages is how the Go of the pages is run, by page and heading. That of the
// README has a test of its own.
var programsInPages = map[string]func(*testing.T, *collector, string){
	"docs/sdk.md: Tasks":                          runCheckout,
	"docs/sdk.md: Places":                         runPlaces,
	"docs/sdk.md: You have OpenTelemetry already": runOwnProvider,
	"docs/sdk.md: Health":                         runHealth,
	"docs/sdk.md: Tests that hang":                runTestsThatHang,
	"README.md: Five minutes to your own service": nil,
}

// Every program in the pages does what its page says.
func TestProgramsInPages(t *testing.T) {
	t.Parallel()
	collector := startCollector(t)
	found := make(map[string]bool)
	eachPage(t, func(path, text string) {
		for _, section := range strings.Split(text, "\n## ") {
			heading, _, _ := strings.Cut(section, "\n")
			for _, program := range page(section).blocks("", "go") {
				name := path + ": " + heading
				run, known := programsInPages[name]
				switch {
				case !known || found[name]:
					t.Errorf("nothing runs the program in %s", name)
				case run != nil:
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						run(t, collector, program)
					})
				}
				found[name] = true
			}
		}
	})
	for name := range programsInPages {
		if !found[name] {
			t.Errorf("there is no program in %s", name)
		}
	}
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
	programs := make(map[string]string) // by page and heading
	eachPage(t, func(path, text string) {
		for _, section := range strings.Split(text, "\n## ") {
			heading, _, _ := strings.Cut(section, "\n")
			for _, program := range page(section).blocks("", "go") {
				programs[path+": "+heading] = program
			}
		}
	})
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

// runTestsThatHang runs the test of the page as it is, and with a task that hangs.
func runTestsThatHang(t *testing.T, c *collector, program string) {
	if says, err := goTest(t, c, "tests-page", "", program); err != nil || !strings.Contains(says, "--- PASS: TestPacking") {
		t.Fatalf("%v\n%s", err, says)
	}
	work := "func(context.Context) error { return nil }"
	if !strings.Contains(program, work) {
		t.Fatalf("the task of the page is not %q any more", work)
	}
	hangs := "func(context.Context) error { tape := inspect.NewMutex(\"tape\"); tape.Lock(); tape.Lock(); return nil }"
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
	directory := t.TempDir()
	arguments := []string{"test", "-v", "-count=1", "-timeout=1m"}
	for name, text := range map[string]string{"page.go": program, "page_test.go": test} {
		if text != "" {
			writeFile(t, filepath.Join(directory, name), text)
			arguments = append(arguments, filepath.Join(directory, name))
		}
	}
	run := exec.Command("go", arguments...)
	run.Env = append(append(os.Environ(), sendTo(c, "grpc", "0.01")...), "OTEL_SERVICE_NAME="+service)
	out, err := run.CombinedOutput()
	return string(out), err
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
