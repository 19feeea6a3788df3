package inspector

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// maxAtResource bounds the waiters and holders that are listed with a resource.
const maxAtResource = 20

type resourceAnswer struct {
	Service               string        `json:"service"`
	Kind                  taskspan.Kind `json:"kind"`
	ResourceName          string        `json:"resource_name"`
	Waiting               int           `json:"waiting"`
	WaitingSeconds        float64       `json:"waiting_seconds"`
	LongestWaitingSeconds float64       `json:"longest_waiting_seconds"`
	StuckWaitsTotal       float64       `json:"stuck_waits_total"`
	StuckSecondsTotal     float64       `json:"stuck_seconds_total"`
	SampledWaitsTotal     float64       `json:"sampled_waits_total"`
	SampledSecondsTotal   float64       `json:"sampled_seconds_total"`
	WaitsTotal            float64       `json:"waits_total"`
	WaitedSecondsTotal    float64       `json:"waited_seconds_total"`
	WaitP50Seconds        float64       `json:"wait_p50_seconds"`
	WaitP95Seconds        float64       `json:"wait_p95_seconds"`
	Waiters               []taskRef     `json:"waiters"`
	Holders               []taskRef     `json:"holders"`
}

type resourceList struct {
	AsOf       instant          `json:"as_of"`
	Resources  []resourceAnswer `json:"resources"`
	Total      int              `json:"total"`
	NextCursor *string          `json:"next_cursor"`
}

type resourceKey struct {
	service  string
	kind     taskspan.Kind
	resource string
}

// openWait is an open wait for a resource.
type openWait struct {
	task  report.TaskID
	id    int64
	since time.Time
}

// openWaits sorts the open waits by what they wait for, the oldest first.
func (p *picture) openWaits() map[resourceKey][]openWait {
	open := make(map[resourceKey][]openWait)
	for i := range p.tasks {
		t := &p.tasks[i]
		for _, w := range t.Waits {
			key := resourceKey{t.Service, w.Kind, w.ResourceName}
			open[key] = append(open[key], openWait{t.ID, w.ID, w.Since.Add(-t.ClockAhead)})
		}
	}
	for _, waits := range open {
		slices.SortFunc(waits, func(a, b openWait) int { return cmp.Or(a.since.Compare(b.since), compareIDs(a.task, b.task)) })
	}
	return open
}

// contention is what is waited for, without the names of tasks.
func (x *inspector) contention(p *picture) (map[resourceKey][]openWait, []resourceAnswer) {
	open := p.openWaits()
	index := make(map[resourceKey]int)
	var all []resourceAnswer
	at := func(key resourceKey) *resourceAnswer {
		i, ok := index[key]
		if !ok {
			i = len(all)
			index[key] = i
			all = append(all, resourceAnswer{Service: key.service, Kind: key.kind, ResourceName: key.resource, Waiters: []taskRef{}, Holders: []taskRef{}})
		}
		return &all[i]
	}
	for _, w := range x.numbers.get().waits {
		at(resourceKey{w.Service, w.Kind, w.Resource}).count(&w)
	}
	for key, waits := range open {
		r := at(key)
		r.Waiting = len(waits)
		for _, w := range waits {
			r.WaitingSeconds += seconds(p.at.Sub(w.since))
		}
		r.LongestWaitingSeconds = seconds(p.at.Sub(waits[0].since))
	}
	for i := range all {
		r := &all[i]
		r.WaitsTotal = max(r.StuckWaitsTotal, r.SampledWaitsTotal) + float64(r.Waiting)
		r.WaitedSecondsTotal = max(r.StuckSecondsTotal, r.SampledSecondsTotal) + r.WaitingSeconds
	}
	return open, all
}

func (r *resourceAnswer) count(w *view.WaitStatistics) {
	r.StuckWaitsTotal += w.Stuck.Count
	r.StuckSecondsTotal += w.Stuck.Sum
	r.SampledWaitsTotal += w.Sampled.Count
	r.SampledSecondsTotal += w.Sampled.Sum
	ended := &w.Sampled
	if ended.Count == 0 {
		ended = &w.Stuck
	}
	r.WaitP50Seconds, r.WaitP95Seconds = ended.Quantile(0.5), ended.Quantile(0.95)
}

// name adds who waits and who holds.
func (r *resourceAnswer) name(p *picture, waits []openWait) {
	seen := make(map[report.TaskID]bool)
	for _, w := range waits {
		if len(r.Waiters) < maxAtResource {
			r.Waiters = append(r.Waiters, p.ref(w.task))
		}
		for _, i := range p.holders[waitID{w.task, w.id}] {
			if id := p.edges[i].holder; !seen[id] && len(r.Holders) < maxAtResource {
				seen[id] = true
				r.Holders = append(r.Holders, p.ref(id))
			}
		}
	}
}

func (x *inspector) listResources(q *query) (any, error) {
	p := x.picture.get()
	service, kind, contained := q.text("service"), taskspan.Kind(q.text("kind")), strings.ToLower(q.text("q"))
	sort := q.choice("sort", "waited", "waiting", "waits", "name")
	paging := q.paging(p.at)
	format := q.choice("format", "json", "csv")
	if err := q.done(); err != nil {
		return nil, err
	}
	open, all := x.contention(p)
	all = slices.DeleteFunc(all, func(r resourceAnswer) bool {
		return service != "" && r.Service != service || kind != "" && r.Kind != kind ||
			contained != "" && !contains(r.Service, contained) && !contains(r.ResourceName, contained) && !contains(string(r.Kind), contained)
	})
	page, next := paged(paging, all, func(r *resourceAnswer, _ time.Time) rowKey { return r.key(sort) })
	for i := range page {
		r := &page[i]
		r.name(p, open[resourceKey{r.Service, r.Kind, r.ResourceName}])
	}
	if format == "csv" {
		return resourcesCSV(page), nil
	}
	return resourceList{AsOf: instant(p.at), Resources: page, Total: len(all), NextCursor: next}, nil
}

func (r *resourceAnswer) key(sort string) rowKey {
	key := rowKey{ID: rawText(r.Service + "\x00" + string(r.Kind) + "\x00" + r.ResourceName)}
	switch sort {
	case "waited":
		key.Number = -int64(min(r.WaitedSecondsTotal, 1e9) * 1e9)
	case "waiting":
		key.Number = -int64(min(r.WaitingSeconds, 1e9) * 1e9)
	case "waits":
		key.Number = -int64(min(r.WaitsTotal, 1e15))
	case "name":
		key.Text = rawText(r.ResourceName)
	}
	return key
}
