package e2e

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// What docs/backends.md says of Jaeger is so, with a real one: a deadlock over two
// services is in the trace of its tasks and links to them, waits are below their
// tasks, lost tasks are there, and every search finds something.
func TestJaeger(t *testing.T) {
	jaeger := startJaeger(t)
	page := docsPage(t, "backends.md")
	overlays := append(page.blocks("Jaeger", "yaml"), page.blocks("What is stuck but not deadlocked", "yaml")...)
	if len(overlays) != 2 {
		t.Fatalf("the page has %d configurations for Jaeger, want 2", len(overlays))
	}
	collector := startDefault(t, overlays, []string{"ASYNC_INSPECT_BACKEND=" + jaeger.otlp})
	to := func(sampling string) []string {
		return []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + collector.grpc, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "ASYNC_INSPECT_SAMPLING=" + sampling}
	}
	playStuck(t, buildStuck(t), "http", to("0.01"))
	demo := startDemo(t, to("1.0"), "-orders", "40")
	eventually(t, time.Minute, "an order that has failed", func() error {
		found, err := jaeger.search("shop", "", "async_inspect.task.state=failed")
		if err == nil && len(found) == 0 {
			err = errors.New("none yet")
		}
		return err
	})
	demo.chaos(t, "deadlock")
	demo.chaos(t, "block")

	eventually(t, time.Minute, "all services", func() error {
		var old struct{ Data []string }
		var v3 struct{ Services []string }
		if err := errors.Join(askJSON(jaeger.url+"/api/services", &old), askJSON(jaeger.url+"/api/v3/services", &v3)); err != nil {
			return err
		}
		for _, service := range []string{"http", "http back", "shop", "bank"} {
			if !slices.Contains(old.Data, service) || !slices.Contains(v3.Services, service) {
				return fmt.Errorf("no %s in %v or %v", service, old.Data, v3.Services)
			}
		}
		return nil
	})
	eventually(t, time.Minute, "the deadlock over two services", func() error { return jaeger.showsRemoteDeadlock(collector) })
	eventually(t, time.Minute, "waits below their tasks", jaeger.showsWaits)

	if err := demo.cmd.Process.Signal(killed); err != nil {
		t.Fatal(err)
	}
	demo.wait(t)
	eventually(t, time.Minute, "lost tasks with their deadlock", jaeger.showsLostTasks)

	searches := page.searches(t)
	eventually(t, time.Minute, "something for every search of the page", func() error {
		var empty []error
		for _, tags := range searches {
			found := 0
			for _, service := range []string{"http", "shop"} {
				traces, err := jaeger.search(service, "", tags)
				if err != nil {
					return err
				}
				found += len(traces)
			}
			if found == 0 {
				empty = append(empty, fmt.Errorf("nothing has %s", tags))
			}
		}
		return errors.Join(empty...)
	})
}

// showsRemoteDeadlock looks at the deadlock of the case http: three tasks in two
// services, which have not ended.
func (j *jaeger) showsRemoteDeadlock(collector *defaults) error {
	found, err := j.search("http", "deadlock", "async_inspect.deadlock.kind=distributed")
	if err != nil {
		return err
	}
	var story, stuck *jaegerTrace
	for i, trace := range found {
		switch len(trace.named("deadlock")) {
		case 1:
			story = &found[i]
		case 3:
			stuck = &found[i]
		}
	}
	if story == nil || stuck == nil {
		return fmt.Errorf("%d traces with a deadlock", len(found))
	}
	root := story.named("deadlock")[0]
	if root.tag("async_inspect.deadlock.id") != story.TraceID || len(root.References) != 3 || len(root.Warnings) > 0 {
		return fmt.Errorf("the deadlock's own trace has %+v", root)
	}
	var tasks []string
	for _, reference := range root.References {
		if reference.RefType != "FOLLOWS_FROM" || reference.TraceID != stuck.TraceID {
			return fmt.Errorf("the deadlock refers to %+v", reference)
		}
		tasks = append(tasks, reference.SpanID)
	}
	var below []string
	for _, span := range stuck.named("deadlock") {
		if span.tag("error") != "true" || span.tag("otel.status_code") != "ERROR" || span.tag("error.type") != "deadlock" {
			return fmt.Errorf("it is no error: %v", span.Tags)
		}
		words := span.tag("async_inspect.deadlock.cycle") + span.tag("async_inspect.deadlock.suggestion")
		for _, want := range []string{"transfer", "GET /check", `mutex "account"`, "services.go:", "Do not call"} {
			if !strings.Contains(words, want) {
				return fmt.Errorf("no %q in %s", want, words)
			}
		}
		if !slices.Contains(tasks, span.parent()) || len(span.References) != 3 {
			return fmt.Errorf("a span of the deadlock is below %s and refers to %+v", span.parent(), span.References)
		}
		below = append(below, stuck.service(span)+" "+span.tag("async_inspect.task.name"))
	}
	slices.Sort(below)
	if want := []string{"http GET /check", "http back GET /transfer", "http transfer"}; !slices.Equal(below, want) {
		return fmt.Errorf("the deadlock has %v, want %v", below, want)
	}
	reports := stuck.named("wait mutex account")
	if len(reports) == 0 || reports[0].tag("async_inspect.wait.open") != "true" || !slices.Contains(tasks, reports[0].parent()) {
		return fmt.Errorf("the wait for the lock: %+v", reports)
	}
	if len(reports[0].References) != 2 || !slices.Contains(tasks, reports[0].References[1].SpanID) {
		return fmt.Errorf("the wait for the lock does not refer to its holder: %+v", reports[0].References)
	}

	// The same in OpenTelemetry's form. It is asked raw, for otherwise this Jaeger writes
	// its warnings into what it has stored.
	var v3 struct {
		Result struct {
			ResourceSpans []struct {
				ScopeSpans []struct {
					Spans []struct {
						Name  string
						Links []struct{ SpanID string }
					}
				}
			}
		}
	}
	if err := askJSON(j.url+"/api/v3/traces/"+stuck.TraceID+"?raw_traces=true", &v3); err != nil {
		return err
	}
	linked := 0
	for _, rs := range v3.Result.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			for _, span := range ss.Spans {
				if span.Name == "deadlock" && len(span.Links) == 3 {
					linked++
				}
			}
		}
	}
	if linked != 3 {
		return fmt.Errorf("API v3 has %d spans of the deadlock with links", linked)
	}

	// The inspector's page leads here.
	var listed struct {
		Tasks []struct {
			TraceURL string `json:"trace_url"`
		}
	}
	if err := askJSON("http://"+collector.inspector+"/api/v1/tasks?state=deadlocked&name=transfer", &listed); err != nil {
		return err
	}
	if want := "/trace/" + stuck.TraceID + "?uiFind="; len(listed.Tasks) != 1 || !strings.Contains(listed.Tasks[0].TraceURL, want) {
		return fmt.Errorf("the page's link is %+v, want one with %s", listed.Tasks, want)
	}
	return stuck.sound(tasks...)
}

// showsWaits looks at a request that has waited for the shop's lock, and at the task
// in it that did.
func (j *jaeger) showsWaits() error {
	found, err := j.search("shop", "wait mutex stock", "async_inspect.wait.resource.name=stock")
	if err != nil {
		return err
	}
	for _, trace := range found {
		for _, wait := range trace.named("wait mutex stock") {
			if wait.tag("async_inspect.report") != "" {
				continue
			}
			for _, task := range trace.named("reserve") {
				if task.SpanID != wait.parent() {
					continue
				}
				if wait.References[0].RefType != "CHILD_OF" || wait.StartTime < task.StartTime || wait.StartTime+wait.Duration > task.StartTime+task.Duration {
					return fmt.Errorf("the wait %+v does not lie within its task %+v", wait, task)
				}
				return trace.sound()
			}
		}
	}
	return fmt.Errorf("not in %d traces", len(found))
}

// showsLostTasks looks at a clerk of the shop, whose task is the root of its trace and
// is in a deadlock, after the process was killed.
func (j *jaeger) showsLostTasks() error {
	found, err := j.search("shop", "move box", "async_inspect.task.state=lost")
	if err != nil {
		return err
	}
	for _, trace := range found {
		for _, deadlock := range trace.named("deadlock") {
			for _, task := range trace.named("move box") {
				if deadlock.parent() == task.SpanID && task.tag("error.type") == "process_lost" {
					return trace.sound()
				}
			}
		}
	}
	return fmt.Errorf("not in %d traces", len(found))
}

// jaeger is a Jaeger as a process, all in one, in memory.
type jaeger struct {
	otlp string // host:port
	url  string // of its API
}

func startJaeger(t *testing.T) *jaeger {
	t.Helper()
	program := os.Getenv("ASYNCINSPECT_JAEGER")
	if _, err := os.Stat(program); err != nil {
		t.Skip("no Jaeger is here: `make test-jaeger` builds one, if it can be had")
	}
	j := &jaeger{otlp: freeAddress(t)}
	api := freeAddress(t)
	j.url = "http://" + api
	cmd := exec.Command(program,
		"--set=service.extensions=[jaeger_storage, jaeger_query]", "--set=service.pipelines.traces.receivers=[otlp]",
		"--set=receivers.otlp.protocols.grpc.endpoint="+j.otlp, "--set=receivers.otlp.protocols.http.endpoint="+freeAddress(t),
		"--set=extensions.jaeger_query.http.endpoint="+api, "--set=extensions.jaeger_query.grpc.endpoint="+freeAddress(t),
		"--set=service.telemetry.metrics.level=none")
	background(t, "Jaeger", cmd)
	eventually(t, 30*time.Second, "Jaeger answers", func() error { return askJSON(j.url+"/api/services", new(any)) })
	return j
}

// search asks for traces as Jaeger's page does; tags is key=value.
func (j *jaeger) search(service, operation, tags string) ([]jaegerTrace, error) {
	key, value, _ := strings.Cut(tags, "=")
	query := url.Values{"service": {service}, "limit": {"1000"}, "lookback": {"1h"}, "tag": {key + ":" + value}}
	if operation != "" {
		query.Set("operation", operation)
	}
	var answer struct{ Data []jaegerTrace }
	err := askJSON(j.url+"/api/traces?"+query.Encode(), &answer)
	return answer.Data, err
}

// jaegerTrace is a trace as Jaeger's page gets it.
type jaegerTrace struct {
	TraceID   string
	Spans     []jaegerSpan
	Processes map[string]struct{ ServiceName string }
}

type jaegerSpan struct {
	TraceID, SpanID, OperationName, ProcessID string
	StartTime, Duration                       int64 // µs
	References                                []struct{ RefType, TraceID, SpanID string }
	Tags                                      []struct {
		Key   string
		Value any
	}
	Warnings []string
}

func (t *jaegerTrace) named(operation string) (spans []jaegerSpan) {
	for _, s := range t.Spans {
		if s.OperationName == operation {
			spans = append(spans, s)
		}
	}
	return spans
}

func (t *jaegerTrace) service(s jaegerSpan) string { return t.Processes[s.ProcessID].ServiceName }

// sound reports spans with equal ids, and warnings of Jaeger but for two kinds: that a
// task has not ended yet (open are the ids of such tasks), and that a report, which may
// be made when its task has ended, does not lie within it.
func (t *jaegerTrace) sound(open ...string) error {
	seen := make(map[string]bool)
	for _, s := range t.Spans {
		if seen[s.SpanID] {
			return fmt.Errorf("two spans %s in %s", s.SpanID, t.TraceID)
		}
		seen[s.SpanID] = true
		for _, warning := range s.Warnings {
			waiting := warning == "invalid parent span IDs="+s.parent()+"; skipping clock skew adjustment" && slices.Contains(open, s.parent())
			report := strings.HasPrefix(warning, "clock skew adjustment disabled") && s.tag("async_inspect.report") != ""
			if !waiting && !report {
				return fmt.Errorf("%s of %s has the warning %q", s.OperationName, t.service(s), warning)
			}
		}
	}
	return nil
}

// parent returns the span under which Jaeger's page shows s: that of its first
// reference within the trace.
func (s *jaegerSpan) parent() string {
	if len(s.References) == 0 || s.References[0].TraceID != s.TraceID {
		return ""
	}
	return s.References[0].SpanID
}

func (s *jaegerSpan) tag(key string) string {
	for _, tag := range s.Tags {
		if tag.Key == key {
			return fmt.Sprint(tag.Value)
		}
	}
	return ""
}

// searches returns the tags in the second column of the page's table.
func (p page) searches(t *testing.T) (tags []string) {
	t.Helper()
	for _, row := range regexp.MustCompile("(?m)^\\|[^|]+\\| `([a-z_.]+=[^`]+)` \\|").FindAllStringSubmatch(string(p), -1) {
		tags = append(tags, row[1])
	}
	if len(tags) < 5 {
		t.Fatalf("the page has only %d searches: this test does not look right", len(tags))
	}
	return tags
}
