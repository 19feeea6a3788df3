package inspector

import (
	"encoding/csv"
	"strconv"
	"strings"

	"github.com/asyncinspect/asyncinspect/internal/spreadsheet"
)

// text is an answer that is not JSON, offered as a file.
type text struct {
	contentType, name, body string
}

// table makes a CSV file as RFC 4180 has it.
func table(name string, header []string, rows [][]string) text {
	var b strings.Builder
	w := csv.NewWriter(&b)
	w.UseCRLF = true
	_ = w.Write(header) // a Builder takes everything
	_ = w.WriteAll(rows)
	return text{contentType: "text/csv; charset=utf-8; header=present", name: name, body: b.String()}
}

// cell keeps a spreadsheet from running a name that anybody may have sent.
func cell(s string) string { return spreadsheet.Defuse(s) }

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func place(p *placeAnswer) (function, at string) {
	if p == nil {
		return "", ""
	}
	return cell(p.Function), cell(p.File + ":" + strconv.Itoa(p.Line))
}

func tasksCSV(tasks []taskAnswer) text {
	rows := make([][]string, 0, len(tasks))
	for i := range tasks {
		t := &tasks[i]
		function, at := place(t.Place)
		w := t.WaitingFor
		if w == nil {
			w = new(waitSummary)
		}
		holder := w.Holder
		if holder == nil {
			holder = new(taskRef)
		}
		rows = append(rows, []string{
			t.TraceID, t.SpanID, cell(t.Service), cell(t.Instance), cell(t.Name), string(t.State), t.StartedAt.String(), t.StateSince.String(), t.EndedAt.String(),
			number(t.AgeSeconds), number(t.InStateSeconds), number(t.BlockedSeconds), strconv.FormatInt(t.ThreadID, 10), function, at,
			cell(string(w.Kind)), cell(w.ResourceName), number(w.WaitedSeconds), holder.TraceID, holder.SpanID, cell(holder.Name),
		})
	}
	return table("tasks.csv", []string{
		"trace_id", "span_id", "service", "instance", "name", "state", "started_at", "state_since", "ended_at",
		"age_seconds", "in_state_seconds", "blocked_seconds", "thread_id", "function", "place",
		"wait_kind", "wait_resource_name", "waited_seconds", "holder_trace_id", "holder_span_id", "holder_name",
	}, rows)
}

func deadlocksCSV(deadlocks []deadlockAnswer) text {
	var rows [][]string
	for i := range deadlocks {
		d := &deadlocks[i]
		for j := range d.Members {
			m := &d.Members[j]
			var w waitAnswer
			if len(m.Waits) > 0 {
				w = m.Waits[0]
			}
			function, at := place(w.Place)
			rows = append(rows, []string{
				d.ID, strconv.FormatBool(d.Standing), string(d.Confidence), string(d.Kind), d.Since.String(), d.FoundAt.String(), d.EndedAt.String(), string(d.How),
				strconv.Itoa(d.Size), strconv.Itoa(d.Victims), m.Task.TraceID, m.Task.SpanID, cell(m.Task.Service), cell(m.Task.Name), strconv.FormatBool(m.InCycle),
				cell(string(w.Kind)), cell(w.ResourceName), w.Since.String(), function, at,
			})
		}
	}
	return table("deadlocks.csv", []string{
		"id", "standing", "confidence", "kind", "since", "found_at", "ended_at", "how",
		"size", "victims", "trace_id", "span_id", "service", "name", "in_cycle",
		"wait_kind", "wait_resource_name", "wait_since", "function", "place",
	}, rows)
}

func resourcesCSV(resources []resourceAnswer) text {
	rows := make([][]string, 0, len(resources))
	for i := range resources {
		r := &resources[i]
		rows = append(rows, []string{
			cell(r.Service), cell(string(r.Kind)), cell(r.ResourceName), strconv.Itoa(r.Waiting), number(r.WaitingSeconds), number(r.LongestWaitingSeconds),
			number(r.StuckWaitsTotal), number(r.StuckSecondsTotal), number(r.SampledWaitsTotal), number(r.SampledSecondsTotal),
			number(r.WaitsTotal), number(r.WaitedSecondsTotal), number(r.WaitP50Seconds), number(r.WaitP95Seconds),
		})
	}
	return table("resources.csv", []string{
		"service", "kind", "resource_name", "waiting", "waiting_seconds", "longest_waiting_seconds",
		"stuck_waits_total", "stuck_seconds_total", "sampled_waits_total", "sampled_seconds_total",
		"waits_total", "waited_seconds_total", "wait_p50_seconds", "wait_p95_seconds",
	}, rows)
}
