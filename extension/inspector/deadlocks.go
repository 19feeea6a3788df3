package inspector

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/view"
)

type deadlockAnswer struct {
	ID            string              `json:"id"`
	Standing      bool                `json:"standing"`
	Confidence    deadlock.Confidence `json:"confidence"`
	Kind          deadlock.Kind       `json:"kind"`
	Headline      string              `json:"headline"`
	Story         string              `json:"story"`
	CycleText     string              `json:"cycle_text"`
	Suggestion    string              `json:"suggestion"`
	EndsAt        instant             `json:"ends_at"`
	Cancellable   bool                `json:"cancellable"`
	Services      []string            `json:"services"`
	Since         instant             `json:"since"`
	FoundAt       instant             `json:"found_at"`
	EndedAt       instant             `json:"ended_at"`
	How           deadlock.Ending     `json:"how"`
	LastedSeconds float64             `json:"lasted_seconds"`
	Count         int                 `json:"count"`
	Size          int                 `json:"size"`
	Cycle         int                 `json:"cycle"`
	Members       []memberAnswer      `json:"members"`
	MoreMembers   int                 `json:"more_members"`
	Victims       int                 `json:"victims"`
	VictimTasks   []taskRef           `json:"victim_tasks"`
	TraceURL      string              `json:"trace_url"`
}

type memberAnswer struct {
	Task     taskRef      `json:"task"`
	InCycle  bool         `json:"in_cycle"`
	Instance string       `json:"instance"`
	ThreadID int64        `json:"thread_id"`
	Waits    []waitAnswer `json:"waits"`
	// MoreWaits are those that keep it from going on and found no room in Waits.
	MoreWaits int    `json:"more_waits"`
	TraceURL  string `json:"trace_url"`
}

const (
	// maxMembers bounds the members of one deadlock in an answer, and maxMembersInAll those
	// of all deadlocks in it; each deadlock has fewMembers in any case. The cycle comes first.
	maxMembers      = 100
	maxMembersInAll = 2000
	fewMembers      = 2
	maxMemberWaits  = 8
)

// deadlockAnswer tells of a deadlock. room is how many members the answer has room for.
func (x *inspector) deadlockAnswer(p *picture, dl *deadlock.Deadlock, room *int) deadlockAnswer {
	until := p.at
	if !dl.Ended.IsZero() {
		until = dl.Ended
	}
	a := deadlockAnswer{
		ID: dl.ID.String(), Standing: dl.Ended.IsZero(), Confidence: dl.Confidence, Kind: dl.Kind,
		Headline: dl.Headline(), Story: dl.Story(until), CycleText: dl.CycleText(), Suggestion: dl.Suggestion(),
		EndsAt: instant(dl.Ends), Cancellable: dl.Cancellable,
		Services: append([]string{}, dl.Services...), Since: instant(dl.Since), FoundAt: instant(dl.Found), EndedAt: instant(dl.Ended), How: dl.How,
		LastedSeconds: seconds(until.Sub(dl.Since)), Count: dl.Count, Size: len(dl.Core), Cycle: dl.Cycle, Members: []memberAnswer{},
		Victims: dl.Victims, VictimTasks: []taskRef{}, TraceURL: traceURL(x.cfg.TraceURL, dl.ID.String(), ""),
	}
	members := min(len(dl.Core), maxMembers, max(fewMembers, *room))
	*room -= members
	a.MoreMembers = len(dl.Core) - members
	for i, t := range dl.Core[:members] {
		id := idOf(t.ID)
		m := memberAnswer{
			Task: p.refOf(t), InCycle: i < dl.Cycle, Instance: t.Process.Instance, ThreadID: t.Thread, Waits: []waitAnswer{},
			TraceURL: traceURL(x.cfg.TraceURL, id.TraceID, id.SpanID),
		}
		waits := dl.Waits[t.ID]
		m.MoreWaits = max(0, len(waits)-maxMemberWaits)
		for _, w := range waits[:len(waits)-m.MoreWaits] {
			m.Waits = append(m.Waits, p.wait(w, t.Ahead, until))
		}
		a.Members = append(a.Members, m)
	}
	if a.Standing {
		for _, id := range dl.Behind {
			a.VictimTasks = append(a.VictimTasks, p.ref(id))
		}
	}
	return a
}

type deadlockList struct {
	AsOf          instant          `json:"as_of"`
	Deadlocks     []deadlockAnswer `json:"deadlocks"`
	Total         int              `json:"total"`
	Standing      int              `json:"standing"`
	FoundTotal    int64            `json:"found_total"`
	ResolvedTotal int64            `json:"resolved_total"`
	Gaps          []gap            `json:"gaps"`
	NextCursor    *string          `json:"next_cursor"`
}

// deadlockKey orders standing ones before past ones, the oldest of those and the
// newest of these first.
func deadlockKey(dl **deadlock.Deadlock, _ time.Time) rowKey {
	key := rowKey{Number: (*dl).Since.UnixNano(), ID: rawText((*dl).ID.String())}
	if !(*dl).Ended.IsZero() {
		key.Rank, key.Number = 1, -(*dl).Ended.UnixNano()
	}
	return key
}

func (x *inspector) listDeadlocks(q *query) (any, error) {
	p := x.picture.get()
	status := q.choice("status", "all", "standing", "past")
	service := q.text("service")
	paging := q.paging(p.at)
	format := q.choice("format", "json", "csv")
	if err := q.done(); err != nil {
		return nil, err
	}
	var all []*deadlock.Deadlock
	if status != "past" {
		all = append(all, p.standing...)
	}
	if status != "standing" {
		all = append(all, p.past...)
	}
	all = slices.DeleteFunc(all, func(dl *deadlock.Deadlock) bool { return service != "" && !slices.Contains(dl.Services, service) })
	page, next := paged(paging, all, deadlockKey)
	list := deadlockList{
		AsOf: instant(p.at), Deadlocks: make([]deadlockAnswer, 0, len(page)), Total: len(all), Standing: len(p.standing), NextCursor: next,
	}
	n := x.numbers.get()
	counts := n.deadlocks()
	list.FoundTotal, list.ResolvedTotal, list.Gaps = counts.FoundTotal, counts.ResolvedTotal, gapsAbout(n.gaps, aboutDeadlocks)
	room := maxMembersInAll
	for _, dl := range page {
		list.Deadlocks = append(list.Deadlocks, x.deadlockAnswer(p, dl, &room))
	}
	if format == "csv" {
		return deadlocksCSV(list.Deadlocks), nil
	}
	return list, nil
}

func (x *inspector) getDeadlock(q *query, text string) (any, error) {
	var id deadlock.ID
	if !readHex(id[:], text) {
		return nil, badParameter("id", "must be 32 lower-case hexadecimal digits and not all 0, is %q", shortened(text))
	}
	if err := q.done(); err != nil {
		return nil, err
	}
	p := x.picture.get()
	for _, list := range [][]*deadlock.Deadlock{p.standing, p.past} {
		for _, dl := range list {
			if dl.ID == id {
				room := maxMembers
				return x.deadlockAnswer(p, dl, &room), nil
			}
		}
	}
	return nil, newProblem(404, "no deadlock %s is known; of those that are over the newest are remembered", id)
}

type inversionAnswer struct {
	ID         string        `json:"id"`
	FoundAt    instant       `json:"found_at"`
	Names      []string      `json:"names"`
	Story      string        `json:"story"`
	CycleText  string        `json:"cycle_text"`
	Suggestion string        `json:"suggestion"`
	Orders     []orderAnswer `json:"orders"`
}

type orderAnswer struct {
	Service    string       `json:"service"`
	Instance   string       `json:"instance"`
	Held       string       `json:"held"`
	HeldReads  bool         `json:"held_reads"`
	HeldAt     *placeAnswer `json:"held_at"`
	Taken      string       `json:"taken"`
	TakenReads bool         `json:"taken_reads"`
	TakenAt    *placeAnswer `json:"taken_at"`
	Guards     []string     `json:"guards"`
	Task       taskRef      `json:"task"`
	TraceURL   string       `json:"trace_url"`
}

// inversionID is the same for the same locks in the same order.
func inversionID(v *deadlock.Inversion) string {
	var names [][2]string
	for i := range v.Orders {
		if o := &v.Orders[i]; !o.AnswersCall() {
			names = append(names, [2]string{o.Service, o.Held})
		}
	}
	text, _ := json.Marshal(names) // of strings always possible
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

func (x *inspector) inversionAnswer(p *picture, v *deadlock.Inversion) inversionAnswer {
	a := inversionAnswer{
		ID: inversionID(v), FoundAt: instant(v.Found), Names: v.Names(), Story: v.Story(), CycleText: v.CycleText(), Suggestion: v.Suggestion(),
	}
	for i := range v.Orders {
		o := &v.Orders[i]
		ref := p.ref(o.Task)
		a.Orders = append(a.Orders, orderAnswer{
			Service: o.Service, Instance: o.Instance, Held: o.HeldLabel(), HeldReads: o.HeldReads, HeldAt: placeOf(o.HeldAt, true),
			Taken: o.TakenLabel(), TakenReads: o.TakenReads, TakenAt: placeOf(o.TakenAt, true), Guards: append([]string{}, o.Guards...),
			Task: ref, TraceURL: traceURL(x.cfg.TraceURL, ref.TraceID, ref.SpanID),
		})
	}
	return a
}

type inversionList struct {
	AsOf       instant           `json:"as_of"`
	Inversions []inversionAnswer `json:"inversions"`
	Total      int               `json:"total"`
	NextCursor *string           `json:"next_cursor"`
}

// inversionsOf are those of several detectors, each once.
func inversionsOf(detectors []*source[view.DeadlockReader]) []*deadlock.Inversion {
	var all []*deadlock.Inversion
	seen := make(map[string]bool)
	for _, src := range detectors {
		for _, v := range src.reader.Inversions() {
			if len(detectors) == 1 {
				all = append(all, v)
			} else if id := inversionID(v); !seen[id] {
				seen[id] = true
				all = append(all, v)
			}
		}
	}
	return all
}

func (x *inspector) listInversions(q *query) (any, error) {
	p := x.picture.get()
	service := q.text("service")
	paging := q.paging(p.at)
	if err := q.done(); err != nil {
		return nil, err
	}
	all := slices.DeleteFunc(inversionsOf(x.detectors.list()), func(v *deadlock.Inversion) bool {
		return service != "" && !slices.ContainsFunc(v.Orders, func(o deadlock.Order) bool { return o.Service == service })
	})
	page, next := paged(paging, all, func(v **deadlock.Inversion, _ time.Time) rowKey {
		return rowKey{Number: -(*v).Found.UnixNano(), ID: rawText(inversionID(*v))}
	})
	list := inversionList{AsOf: instant(p.at), Inversions: make([]inversionAnswer, 0, len(page)), Total: len(all), NextCursor: next}
	for _, v := range page {
		list.Inversions = append(list.Inversions, x.inversionAnswer(p, v))
	}
	return list, nil
}
