package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/stretchr/testify/require"
)

const (
	blockedTask = `{"trace_id":"0a","span_id":"0b","service":"shop","name":"reserve","state":"deadlocked","live":true,"age_seconds":75,
		"in_state_seconds":4.21,"blocked_seconds":4.21,"thread_id":15,"place":{"function":"main.reserve","file":"/src/demo/stock.go","line":54,"stack":"goroutine 15\\n\\tmain.go"},
		"waiting_for":{"kind":"mutex","resource_name":"stock","waited_seconds":4.21,"holder":{"known":true,"service":"shop","name":"stocktaking"}},"deadlock_id":"1"}`
	endedTask = `{"trace_id":"0c","span_id":"0d","service":"bank","name":"pay\u001b[31m","state":"completed","age_seconds":0.02}`
	standing  = `{"id":"1","standing":true,"confidence":"suspected","headline":"2 tasks","story":"DEADLOCK  2 tasks of shop wait for each other\n","services":["shop"]}`
)

// inspector is what the API of an inspector answers.
func inspector(tb testing.TB, deadlocks string, check func(*http.Request) int) *httptest.Server {
	tb.Helper()
	return inspectorWithGaps(tb, deadlocks, "", check)
}

const (
	noDetector = `{"about":"deadlocks","reason":"no_component","status":"warning","component":"","message":"nobody looks for deadlocks"}`
	noState    = `{"about":"tasks","reason":"no_component","status":"warning","component":"","message":"nobody counts tasks"}`
)

// inspectorWithGaps also says what it cannot know.
func inspectorWithGaps(tb testing.TB, deadlocks, gaps string, check func(*http.Request) int) *httptest.Server {
	tb.Helper()
	mux := http.NewServeMux()
	say := func(path, body string) {
		mux.HandleFunc("GET /api/v1/"+path, func(w http.ResponseWriter, r *http.Request) {
			if check != nil {
				if status := check(r); status != http.StatusOK {
					w.WriteHeader(status)
					fmt.Fprint(w, `{"title":"no","detail":"the token is wrong"}`)
					return
				}
			}
			fmt.Fprint(w, body)
		})
	}
	say("overview", `{"tasks":{"running":3,"blocked":1,"deadlocked":2,"started_total":10,"failed_total":0},"processes":{"reporting":2,"lost":1},
		"deadlocks":{"standing":1,"victims":4},"rates":{"started_per_second":12.5,"failed_per_second":0},"gaps":[`+gaps+`]}`)
	say("tasks", `{"tasks":[`+blockedTask+`,`+endedTask+`],"total":7}`)
	say("tasks/0a/0b", `{"task":`+blockedTask+`,"waits":[{"kind":"mutex","resource_name":"stock","waited_seconds":4.2,
		"place":{"function":"main.reserve","file":"demo/stock.go","line":54},
		"callers":[{"function":"main.checkout","file":"/src/demo/cart.go","line":31}],
		"holders":[{"task":{"known":true,"service":"shop","name":"stocktaking"},"place":{"function":"main.sitOn","file":"demo/stock.go","line":69}}]}],
		"waiters":[],"waiters_total":0,"chain":[{"task":{"known":true,"service":"shop","name":"reserve"},"waiting_for":{"kind":"mutex","resource_name":"stock"}},
		{"task":{"known":true,"service":"shop","name":"stocktaking"}}],"chain_end":"running","events":[{"at":"2026-11-23T10:00:00Z","name":"blocked","detail":"mutex"}]}`)
	say("deadlocks", `{"deadlocks":[`+deadlocks+`],"total":1,"standing":1,"gaps":[`+gaps+`]}`)
	s := httptest.NewServer(mux)
	tb.Cleanup(s.Close)
	return s
}

func start(t *testing.T, s *httptest.Server) *model {
	m := newModel(t.Context(), &client{base: s.URL, http: s.Client()}, time.Hour)
	m.Update(tea.WindowSizeMsg{Width: 120, Height: 30})
	m.Update(m.Init()())
	return m
}

// press presses keys, and does what the program is told to do because of them.
func press(m *model, keys ...string) {
	for _, k := range keys {
		message := tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(k)}
		for kind, name := range map[tea.KeyType]string{tea.KeyEnter: "enter", tea.KeyEsc: "esc", tea.KeyDown: "down", tea.KeyUp: "up"} {
			if name == k {
				message = tea.KeyMsg{Type: kind}
			}
		}
		for command := m.key(message); command != nil; {
			answered := command()
			if _, ok := answered.(extra); !ok {
				break
			}
			_, command = m.Update(answered)
		}
	}
}

func TestTopShowsTasks(t *testing.T) {
	m := start(t, inspector(t, standing, nil))
	view := m.View()
	for _, want := range []string{
		"3 running", "2 deadlocked", "12.5 tasks/s", "2 processes", "1 lost", "deadlocks that stand: 1, tasks stuck behind them: 4", "2 of 7 tasks",
		"shop: reserve", "4.2s", "1m15s", `mutex "stock" held by stocktaking`, "demo/stock.go:54", "bank: pay",
	} {
		require.Contains(t, view, want)
	}
	require.NotContains(t, view, "\x1b[31m", "a name does not control the terminal")
	for _, line := range strings.Split(view, "\n") {
		require.LessOrEqual(t, len([]rune(line)), 120)
	}
	require.LessOrEqual(t, strings.Count(view, "\n"), 30)
}

// A task of a suspected deadlock is blocked, and that is said beside it.
func TestTopSaysWhatIsSuspected(t *testing.T) {
	for _, c := range []struct{ state, confidence, want string }{
		{"blocked", "suspected", "blocked (suspected deadlock)"},
		{"blocked", "transient", "blocked (transient deadlock)"},
		{"blocked", "", "blocked"},
		{"deadlocked", "certain", "deadlocked"},
	} {
		require.Equal(t, c.want, (&task{State: c.state, Confidence: c.confidence}).state())
	}
	m := start(t, inspector(t, standing, nil))
	require.NotContains(t, m.View(), "suspected)")
	m.overview.Tasks.Suspected = 5
	require.Contains(t, m.View(), "1 blocked (5 suspected)  2 deadlocked")
}

func TestTopGoesToATaskAndToDeadlocks(t *testing.T) {
	m := start(t, inspector(t, standing, nil))
	press(m, "enter")
	view := m.View()
	for _, want := range []string{"shop: reserve is deadlocked", "goroutine   15", "called by   main.checkout demo/cart.go:31", "held by     shop: stocktaking", "demo/stock.go:69", "who runs, as far as is known", "blocked  mutex"} {
		require.Contains(t, view, want)
	}
	press(m, "d")
	require.Contains(t, m.View(), "2 tasks of shop wait for each other")
	press(m, "?")
	require.Contains(t, m.View(), "who is stuck for longest")
	press(m, "esc", "down", "down", "down")
	require.Equal(t, 1, m.cursor)
	require.Equal(t, "0c/0d", m.chosen)
	press(m, "up", "up")
	require.Equal(t, 0, m.cursor)
	require.NotNil(t, m.key(tea.KeyMsg{Type: tea.KeyCtrlC}))
}

func TestTopFiltersSortsAndSearches(t *testing.T) {
	var asked string
	m := start(t, inspector(t, "", func(r *http.Request) int {
		if r.URL.Path == "/api/v1/tasks" {
			asked = r.URL.Query().Encode()
		}
		return http.StatusOK
	}))
	require.Equal(t, "limit=1000&sort=stuck", asked)
	press(m, "f", "s")
	require.Equal(t, "limit=1000&sort=-age&state=blocked%2Cdeadlocked", asked)
	press(m, "/", "s", "t", "enter")
	require.Contains(t, asked, "q=st&")
	require.Contains(t, m.View(), `blocked or deadlocked, with "st", by age`)
	press(m, "/", "esc")
	require.NotContains(t, asked, "q=")
	press(m, "p")
	require.Contains(t, m.View(), "paused")
	_, command := m.Update(tick{})
	require.NotNil(t, command)
	require.False(t, m.asking, "nothing is asked while it is paused")
}

func TestTopSaysThatTheCollectorIsGone(t *testing.T) {
	s := inspector(t, "", nil)
	m := start(t, s)
	s.Close()
	m.Update(m.ask()())
	require.Contains(t, m.View(), "no answer since")
	require.Contains(t, m.View(), "shop: reserve", "what was there stays")
}

func TestTopRunsAndIsLeft(t *testing.T) {
	s := inspector(t, standing, nil)
	in, keys, err := os.Pipe()
	require.NoError(t, err)
	_, err = keys.WriteString("q")
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, top(t.Context(), &client{base: s.URL, http: s.Client()}, time.Second, in, &out))
	require.Contains(t, out.String(), "async-inspect")
}

func TestDeadlocksExitCode(t *testing.T) {
	some, none := inspector(t, standing, nil), inspector(t, "", nil)
	blind, partly := inspectorWithGaps(t, "", noDetector, nil), inspectorWithGaps(t, standing, noDetector, nil)
	uncounted := inspectorWithGaps(t, "", noState, nil)
	const unknown = "it is not known whether a deadlock stands: nobody looks for deadlocks"
	for _, c := range []struct {
		server    *httptest.Server
		flags     []string
		code      int
		says      string
		complains string
	}{
		{some, nil, 0, "2 tasks of shop", ""},
		{some, []string{"--fail"}, exitDeadlock, "2 tasks of shop", ""},
		{some, []string{"--fail", "--certain"}, 0, "No deadlock stands.", ""},
		{some, []string{"--fail", "--json"}, exitDeadlock, `"confidence":"suspected"`, ""},
		{none, []string{"--fail"}, 0, "No deadlock stands.", ""},
		{blind, nil, exitProblem, "", unknown},
		{blind, []string{"--fail"}, exitProblem, "", unknown},
		{blind, []string{"--fail", "--json"}, exitProblem, `"no_component"`, unknown},
		{partly, nil, 0, "2 tasks of shop", "whether more deadlocks stand"},
		{partly, []string{"--fail"}, exitDeadlock, "2 tasks of shop", "whether more deadlocks stand"},
		{partly, []string{"--fail", "--certain"}, exitProblem, "", "whether more deadlocks stand"},
		{uncounted, []string{"--fail"}, 0, "No deadlock stands.", ""},
	} {
		var out, complaints bytes.Buffer
		code := run(t.Context(), append([]string{"deadlocks", "--endpoint", c.server.URL}, c.flags...), nil, &out, &complaints)
		require.Equal(t, c.code, code, "%v: %s", c.flags, complaints.String())
		require.Contains(t, out.String(), c.says)
		require.Equal(t, c.code == exitProblem && c.says == "", out.Len() == 0, "no all-clear: %s", out.String())
		require.Equal(t, c.complains == "", complaints.Len() == 0)
		require.Contains(t, complaints.String(), c.complains)
	}
}

// An empty screen does not look like a fleet in which all is well.
func TestTopSaysWhatIsNotKnown(t *testing.T) {
	m := start(t, inspectorWithGaps(t, "", noDetector+","+noState, nil))
	m.tasks = taskList{}
	require.Contains(t, m.table(), "nobody counts tasks")
	press(m, "d")
	require.Contains(t, m.View(), "not known whether a deadlock stands that is not listed: nobody looks for deadlocks")
	require.NotContains(t, m.View(), "No tasks wait for each other")

	m = start(t, inspector(t, "", nil))
	m.tasks = taskList{}
	require.Contains(t, m.table(), "No task is like that")
	press(m, "d")
	require.Contains(t, m.View(), "No tasks wait for each other in a circle")
}

func TestMistakesAreSaid(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{nil, exitUsage, "asyncinspect top"},
		{[]string{"help"}, 0, "--fail"},
		{[]string{"tops"}, exitUsage, `there is no command "tops"`},
		{[]string{"top", "--wrong"}, exitUsage, "wrong"},
		{[]string{"top", "more"}, exitUsage, `does not know what to do with "more"`},
		{[]string{"top", "--endpoint", "localhost:9090"}, exitUsage, "--endpoint"},
		{[]string{"deadlocks", "--token-file", "/nowhere"}, exitUsage, "--token-file"},
		{[]string{"deadlocks", "--user", "a", "--token-file", "x"}, exitUsage, "--user"},
		{[]string{"deadlocks", "--ca-file", empty, "--endpoint", "https://x"}, exitUsage, "there is no certificate in"},
		{[]string{"deadlocks", "--ca-file", empty}, exitUsage, "certificates are for https"},
		{[]string{"deadlocks", "--cert-file", empty, "--endpoint", "https://x"}, exitUsage, "one needs the other"},
		{[]string{"deadlocks", "--endpoint", "http://127.0.0.1:1"}, exitProblem, "refused"},
		{[]string{"top"}, exitUsage, "needs a terminal"},
	} {
		var out, complaints bytes.Buffer
		code := run(t.Context(), c.args, nil, &out, &complaints)
		require.Equal(t, c.code, code, "%v", c.args)
		require.Contains(t, complaints.String(), c.says, "%v", c.args)
	}
	var out bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"version"}, nil, &out, &out))
	require.NotEmpty(t, out.String())
}

func TestCredentials(t *testing.T) {
	s := inspector(t, standing, func(r *http.Request) int {
		user, password, _ := r.BasicAuth()
		if r.Header.Get("Authorization") == "Bearer secret" || user == "me" && password == "pass" {
			return http.StatusOK
		}
		return http.StatusUnauthorized
	})
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("secret\n"), 0o600))
	ask := func(flags ...string) (int, string) {
		var out, complaints bytes.Buffer
		code := run(context.Background(), append([]string{"deadlocks", "--endpoint", s.URL}, flags...), nil, &out, &complaints)
		return code, complaints.String()
	}
	code, says := ask()
	require.Equal(t, exitProblem, code)
	require.Contains(t, says, "401 Unauthorized: the token is wrong")
	code, _ = ask("--token-file", token)
	require.Zero(t, code)
	t.Setenv(passwordVariable, "pass")
	code, _ = ask("--user", "me")
	require.Zero(t, code)
	t.Setenv(tokenVariable, "secret")
	code, _ = ask()
	require.Zero(t, code)
}

func TestHealth(t *testing.T) {
	answers := func(status int, body string) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/livez" || r.Header.Get("Authorization") != "Bearer secret" {
				status, body = http.StatusTeapot, `{"detail":"what a request"}`
			}
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}))
		t.Cleanup(s.Close)
		return s
	}
	gone := answers(http.StatusOK, "")
	gone.Close()
	t.Setenv(tokenVariable, "secret")
	for _, c := range []struct {
		server *httptest.Server
		code   int
		says   string
	}{
		{answers(http.StatusOK, `{"status":"ok"}`), 0, "The collector lives."},
		{
			answers(http.StatusServiceUnavailable, `{"status":"failed","checks":[{"status":"ok","message":"fine"},{"status":"failed","message":"a component has not answered for 12s"}]}`),
			exitUnhealthy, "503 Service Unavailable: a component has not answered for 12s",
		},
		{answers(http.StatusServiceUnavailable, "no JSON"), exitUnhealthy, "503"},
		{answers(http.StatusUnauthorized, `{"detail":"the token is wrong"}`), exitUnhealthy, "401 Unauthorized: the token is wrong"},
		{answers(http.StatusNotFound, "404 page not found"), exitUnhealthy, "404"},
		{gone, exitUnhealthy, "refused"},
	} {
		var said bytes.Buffer
		code := run(t.Context(), []string{"health", "--endpoint", c.server.URL}, nil, &said, &said)
		require.Equal(t, c.code, code, said.String())
		require.Contains(t, said.String(), c.says)
		require.NotContains(t, said.String(), "fine")
	}
}

func TestTLS(t *testing.T) {
	s := httptest.NewTLSServer(inspector(t, standing, nil).Config.Handler)
	defer s.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600))
	for _, c := range []struct {
		flags []string
		code  int
	}{{nil, exitProblem}, {[]string{"--ca-file", ca}, 0}, {[]string{"--insecure-skip-verify"}, 0}} {
		var out, complaints bytes.Buffer
		require.Equal(t, c.code, run(t.Context(), append([]string{"deadlocks", "--endpoint", s.URL}, c.flags...), nil, &out, &complaints), complaints.String())
	}
}

func TestSeconds(t *testing.T) {
	for s, want := range map[float64]string{0.0214: "21ms", 4.24: "4.2s", 61.4: "1m1s", 18725: "5h12m"} {
		require.Equal(t, want, seconds(s))
	}
	require.Equal(t, "ab…", cut("abcdef", 3))
	require.Equal(t, "", cut("abc", 0))
}
