package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// client asks the API of an inspector.
type client struct {
	base      string
	http      *http.Client
	authorize func(*http.Request) // nil: without credentials
}

// mostBytes bounds an answer: ten thousand tasks are about ten megabytes.
const mostBytes = 64 << 20

// ask sends a request for a path of the inspector.
func (c *client) ask(ctx context.Context, path string, query url.Values) (*http.Response, error) {
	address := c.base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	if c.authorize != nil {
		c.authorize(request)
	}
	return c.http.Do(request)
}

// get reads what the API answers.
func (c *client) get(ctx context.Context, path string, query url.Values, into any) error {
	response, err := c.ask(ctx, "/api/v1/"+path, query)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body := io.LimitReader(response.Body, mostBytes)
	if response.StatusCode != http.StatusOK {
		return refusal(response.Status, body)
	}
	if err := json.NewDecoder(body).Decode(into); err != nil {
		return fmt.Errorf("%s: this is not the API of an inspector: %w", response.Request.URL, err)
	}
	return nil
}

// refusal is an answer that says why there is none: a problem document.
func refusal(status string, body io.Reader) error {
	var problem struct{ Detail string }
	if err := json.NewDecoder(body).Decode(&problem); err != nil || problem.Detail == "" {
		return fmt.Errorf("the inspector answers %s", status)
	}
	return fmt.Errorf("the inspector answers %s: %s", status, problem.Detail)
}

// What follows are the parts of its answers that are shown.

type overview struct {
	Tasks struct {
		Running, Blocked, Deadlocked, Suspected int64
		Started                                 float64 `json:"started_total"`
		Failed                                  float64 `json:"failed_total"`
	}
	Processes struct{ Reporting, Lost int64 }
	Deadlocks struct{ Standing, Victims int64 }
	Rates     struct {
		Started float64 `json:"started_per_second"`
		Failed  float64 `json:"failed_per_second"`
	}
	Gaps     gaps
	Warnings []struct{ Component, Message string }
}

// gaps are what the collector cannot know. Collectors of older versions do not send them.
type gaps []struct{ About, Reason, Status, Component, Message string }

// about returns the messages of the gaps about one thing.
func (g gaps) about(topic string) (messages []string) {
	for _, one := range g {
		if one.About == topic {
			messages = append(messages, one.Message)
		}
	}
	return messages
}

type taskRef struct {
	TraceID string `json:"trace_id"`
	SpanID  string `json:"span_id"`
	Known   bool
	Service string
	Name    string
	State   string
}

func (r *taskRef) String() string {
	if !r.Known && r.Name == "" {
		return "a task that is not known"
	}
	return r.Service + ": " + r.Name
}

type place struct {
	Function string
	File     string
	Line     int
	Stack    string
}

func (p *place) String() string {
	if p == nil {
		return ""
	}
	return p.Function + " " + p.line()
}

// line is the file, with its directory, and the line.
func (p *place) line() string {
	parts := strings.Split(p.File, "/")
	return fmt.Sprintf("%s:%d", strings.Join(parts[max(0, len(parts)-2):], "/"), p.Line)
}

type waitSummary struct {
	Kind     string
	Resource string  `json:"resource_name"`
	Waited   float64 `json:"waited_seconds"`
	Holder   *taskRef
}

func (w *waitSummary) String() string {
	if w == nil {
		return ""
	}
	return named(w.Kind, w.Resource)
}

func named(kind, resource string) string {
	if resource == "" {
		return kind
	}
	return fmt.Sprintf("%s %q", kind, resource)
}

type task struct {
	TraceID    string `json:"trace_id"`
	SpanID     string `json:"span_id"`
	Service    string
	Instance   string
	Name       string
	State      string
	Live       bool
	Reason     string
	Age        float64 `json:"age_seconds"`
	InState    float64 `json:"in_state_seconds"`
	Blocked    float64 `json:"blocked_seconds"`
	Thread     int64   `json:"thread_id"`
	Place      *place
	WaitingFor *waitSummary `json:"waiting_for"`
	DeadlockID *string      `json:"deadlock_id"`
	Confidence string       `json:"deadlock_confidence"`
	TraceURL   string       `json:"trace_url"`
}

// state is the state and, if the task is in a deadlock that is not certain, how sure that
// is.
func (t *task) state() string {
	if t.Confidence == "" || t.State == "deadlocked" {
		return t.State
	}
	return t.State + " (" + t.Confidence + " deadlock)"
}

type taskList struct {
	Tasks []task
	Total int
}

type wait struct {
	Kind     string
	Resource string  `json:"resource_name"`
	Waited   float64 `json:"waited_seconds"`
	Place    *place
	Callers  []place
	Holders  []struct {
		Task  taskRef
		Place *place
		Ended bool
	}
}

type taskDetail struct {
	Task    task
	Waits   []wait
	Waiters []struct {
		Task   taskRef
		Waited float64 `json:"waited_seconds"`
		Place  *place
	}
	WaitersTotal int `json:"waiters_total"`
	Chain        []struct {
		Task       taskRef
		WaitingFor *waitSummary `json:"waiting_for"`
	}
	ChainEnd string `json:"chain_end"`
	Events   []struct{ At, Name, Detail string }
}

type deadlock struct {
	ID         string
	Standing   bool
	Confidence string
	Headline   string
	Story      string
	Services   []string
}

type deadlockList struct {
	Deadlocks []deadlock
	Total     int
	Standing  int
	Gaps      gaps
}
