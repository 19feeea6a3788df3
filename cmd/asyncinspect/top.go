package main

import (
	"context"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/charmbracelet/bubbles/textinput"
	"github.com/charmbracelet/bubbles/viewport"
	tea "github.com/charmbracelet/bubbletea"
)

// screen is what top shows.
type screen int

const (
	tasksScreen screen = iota
	taskScreen
	deadlocksScreen
	helpScreen
)

// filters and orders are what f and s go through.
var (
	filters = []string{"", "blocked,deadlocked", "running", "completed", "failed", "cancelled", "lost"}
	orders  = []string{"stuck", "-age", "-blocked", "name", "service"}
)

const mostTasks = 1000 // that are asked for

// model is the state of top.
type model struct {
	ctx      context.Context
	client   *client
	interval time.Duration

	width, height int
	screen        screen
	paused        bool
	filter, order int
	search        textinput.Model
	searching     bool

	overview  overview
	tasks     taskList
	cursor    int    // in tasks
	chosen    string // its ids, so that the cursor stays on a task while others come
	detail    *taskDetail
	deadlocks deadlockList
	text      viewport.Model // of the detail, the deadlocks, the help
	answered  time.Time
	err       error
	asking    bool
	stale     bool // something else is to be asked than what is on its way
}

// top runs until the user leaves it.
func top(ctx context.Context, c *client, interval time.Duration, in io.Reader, out io.Writer) error {
	program := tea.NewProgram(newModel(ctx, c, interval), tea.WithContext(ctx), tea.WithAltScreen(), tea.WithInput(in), tea.WithOutput(out))
	_, err := program.Run()
	if ctx.Err() != nil {
		return nil // Ctrl-C is how one leaves
	}
	return err
}

func newModel(ctx context.Context, c *client, interval time.Duration) *model {
	search := textinput.New()
	search.Prompt = "search: "
	search.CharLimit = 256
	return &model{ctx: ctx, client: c, interval: interval, search: search, width: 80, height: 24, text: viewport.New(80, 20)}
}

// answer is what a round of questions brought.
type answer struct {
	overview  overview
	tasks     taskList
	detail    *taskDetail
	deadlocks *deadlockList
	err       error
	at        time.Time
}

type tick struct{}

// Init implements [tea.Model].
func (m *model) Init() tea.Cmd { return m.ask() }

// ask asks for what the screen shows, beside the program.
func (m *model) ask() tea.Cmd {
	m.asking = true
	screen, detailOf := m.screen, m.chosen
	query := url.Values{"limit": {strconv.Itoa(mostTasks)}, "sort": {orders[m.order]}}
	if state := filters[m.filter]; state != "" {
		query.Set("state", state)
	}
	if q := m.search.Value(); q != "" {
		query.Set("q", q)
	}
	return func() tea.Msg {
		a := answer{at: time.Now()}
		a.err = m.client.get(m.ctx, "overview", nil, &a.overview)
		if a.err == nil {
			a.err = m.client.get(m.ctx, "tasks", query, &a.tasks)
		}
		if a.err == nil && screen == taskScreen {
			a.detail = new(taskDetail)
			a.err = m.client.get(m.ctx, "tasks/"+detailOf, nil, a.detail)
		}
		if a.err == nil && screen == deadlocksScreen {
			a.deadlocks = new(deadlockList)
			a.err = m.client.get(m.ctx, "deadlocks", url.Values{"limit": {"100"}}, a.deadlocks)
		}
		return a
	}
}

func (m *model) later() tea.Cmd {
	return tea.Tick(m.interval, func(time.Time) tea.Msg { return tick{} })
}

// Update implements [tea.Model].
func (m *model) Update(message tea.Msg) (tea.Model, tea.Cmd) {
	switch message := message.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = message.Width, message.Height
		m.text.Width, m.text.Height = message.Width, max(1, message.Height-headLines-footLines)
		m.fill()
	case tick:
		if m.paused || m.asking {
			return m, m.later()
		}
		return m, m.ask()
	case answer:
		m.take(message)
		return m, tea.Batch(m.later(), m.catchUp())
	case extra:
		m.take(answer(message))
		return m, m.catchUp()
	case tea.KeyMsg:
		return m, m.key(message)
	}
	return m, nil
}

// take shows an answer. What was there before stays if there is none.
func (m *model) take(a answer) {
	m.asking, m.err = false, a.err
	if a.err != nil {
		return
	}
	m.answered = a.at
	m.overview, m.tasks = a.overview, a.tasks
	m.follow()
	if a.detail != nil && m.screen == taskScreen {
		m.detail = a.detail
	}
	if a.deadlocks != nil {
		m.deadlocks = *a.deadlocks
	}
	m.fill()
}

// follow keeps the cursor on its task, wherever that is now.
func (m *model) follow() {
	for i := range m.tasks.Tasks {
		if m.tasks.Tasks[i].key() == m.chosen {
			m.cursor = i
			return
		}
	}
	m.move(0)
}

func (t *task) key() string { return t.TraceID + "/" + t.SpanID }

// move moves the cursor.
func (m *model) move(by int) {
	m.cursor = max(0, min(len(m.tasks.Tasks)-1, m.cursor+by))
	if m.screen != taskScreen {
		m.chosen = ""
		if m.cursor < len(m.tasks.Tasks) {
			m.chosen = m.tasks.Tasks[m.cursor].key()
		}
	}
}

// key does what a key means.
func (m *model) key(key tea.KeyMsg) tea.Cmd {
	if m.searching {
		return m.searchKey(key)
	}
	switch key.String() {
	case "q", "ctrl+c":
		return tea.Quit
	case "p", " ":
		m.paused = !m.paused
	case "r":
		return m.again()
	case "?", "h":
		return m.show(helpScreen)
	case "d":
		return m.show(deadlocksScreen)
	case "t", "esc", "backspace":
		return m.show(tasksScreen)
	default:
		if m.screen != tasksScreen {
			var command tea.Cmd
			m.text, command = m.text.Update(key)
			return command
		}
		return m.tableKey(key)
	}
	return nil
}

func (m *model) tableKey(key tea.KeyMsg) tea.Cmd {
	switch key.String() {
	case "up", "k":
		m.move(-1)
	case "down", "j":
		m.move(1)
	case "pgup":
		m.move(-m.rows())
	case "pgdown":
		m.move(m.rows())
	case "home", "g":
		m.move(-len(m.tasks.Tasks))
	case "end", "G":
		m.move(len(m.tasks.Tasks))
	case "enter":
		if m.chosen != "" {
			return m.show(taskScreen)
		}
	case "/":
		m.searching = true
		return m.search.Focus()
	case "f":
		m.filter = (m.filter + 1) % len(filters)
		return m.again()
	case "s":
		m.order = (m.order + 1) % len(orders)
		return m.again()
	}
	return nil
}

func (m *model) searchKey(key tea.KeyMsg) tea.Cmd {
	switch key.String() {
	case "esc":
		m.search.SetValue("")
		fallthrough
	case "enter":
		m.searching = false
		m.search.Blur()
		return m.again()
	case "ctrl+c":
		return tea.Quit
	}
	var command tea.Cmd
	m.search, command = m.search.Update(key)
	return command
}

func (m *model) show(s screen) tea.Cmd {
	if s != m.screen {
		m.screen, m.detail = s, nil
		m.text.GotoTop()
		m.fill()
	}
	return m.again()
}

// again asks now, or as soon as what is being asked is answered.
func (m *model) again() tea.Cmd {
	if m.asking {
		m.stale = true
		return nil
	}
	ask := m.ask()
	return func() tea.Msg { return extra(ask().(answer)) }
}

func (m *model) catchUp() tea.Cmd {
	if !m.stale {
		return nil
	}
	m.stale = false
	return m.again()
}

// extra is an answer between two ticks, after which no further one is due.
type extra answer
