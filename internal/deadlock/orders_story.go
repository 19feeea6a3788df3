package deadlock

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/asyncinspect/asyncinspect/internal/words"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Names are the locks of the inversion, in its order; calls between processes are none.
func (v *Inversion) Names() []string {
	names := make([]string, 0, len(v.Orders))
	for i := range v.Orders {
		if o := &v.Orders[i]; !isCall(o.Held) {
			names = append(names, o.HeldLabel())
		}
	}
	return names
}

// Services are those that take part, sorted.
func (v *Inversion) Services() []string {
	var services []string
	for _, o := range v.Orders {
		services = append(services, o.Service)
	}
	slices.Sort(services)
	return slices.Compact(services)
}

// Recursive reports whether it is a read lock taken twice, and no ring.
func (v *Inversion) Recursive() bool { return len(v.Orders) == 1 }

// calls reports whether a call between processes is part of it.
func (v *Inversion) calls() bool {
	return slices.ContainsFunc(v.Orders, func(o Order) bool { return isCall(o.Held) })
}

// AnswersCall reports whether what is held is no lock but a call that is answered.
func (o *Order) AnswersCall() bool { return isCall(o.Held) }

// HeldLabel is what people call what is held.
func (o *Order) HeldLabel() string { return className(o.HeldName, o.Held) }

// TakenLabel is what people call what is taken.
func (o *Order) TakenLabel() string { return className(o.TakenName, o.Taken) }

// className is what people call a class.
func className(called, class string) string {
	return words.OneLine(cmp.Or(called, strings.TrimPrefix(class, taskspan.ResourceExternal)))
}

// CycleText tells the orders, a line for each.
func (v *Inversion) CycleText() string {
	var b strings.Builder
	for i := range v.Orders {
		o := &v.Orders[i]
		if i > 0 {
			b.WriteByte('\n')
		}
		takes := fmt.Sprintf("takes %q", o.TakenLabel())
		if isCall(o.Taken) {
			takes = fmt.Sprintf("calls %q", o.TakenLabel())
		}
		while := fmt.Sprintf("while it holds %q", o.HeldLabel())
		switch {
		case o.Recursive:
			while = "while already holding it"
		case isCall(o.Held):
			while = fmt.Sprintf("while it answers a call in %q", o.HeldLabel())
		}
		fmt.Fprintf(&b, "%s %s%s %s%s", words.OneLine(o.Service), takes, placed(words.Place(o.TakenAt)), while, placed(words.Place(o.HeldAt)))
	}
	return b.String()
}

func placed(place string) string {
	if place == "" {
		return ""
	}
	return " (" + place + ")"
}

// Suggestion says how it is avoided.
func (v *Inversion) Suggestion() string {
	switch {
	case v.Recursive():
		return "Take the read lock once, and call functions that expect it to be held. A writer that arrives in between waits for the first read lock and blocks the second."
	case v.calls():
		return fmt.Sprintf("Do not call another service while holding %s: release it before the call. Or take these locks in the same order everywhere, for example %s.",
			quoted(v.heldAtCalls()), inOrder(v.Names()))
	}
	return fmt.Sprintf("Take these locks in the same order everywhere, for example %s.", inOrder(v.Names()))
}

// heldAtCalls are the locks that are held while another process is called.
func (v *Inversion) heldAtCalls() []string {
	var names []string
	for i := range v.Orders {
		if o := &v.Orders[i]; isCall(o.Taken) && !isCall(o.Held) && !slices.Contains(names, o.HeldLabel()) {
			names = append(names, o.HeldLabel())
		}
	}
	return names
}

// Headline says in a line what could happen.
func (v *Inversion) Headline() string {
	if v.Recursive() {
		return fmt.Sprintf("a goroutine of %s takes the read lock %s twice; a writer that arrives in between would cause a deadlock",
			list(v.Services()), quoted(v.Names()))
	}
	verb := "takes"
	if len(v.Services()) > 1 {
		verb = "take"
	}
	return fmt.Sprintf("%s %s the locks %s in orders that contradict each other; no task hangs yet", list(v.Services()), verb, quoted(v.Names()))
}

// Story tells a person at a terminal.
func (v *Inversion) Story() string {
	var b strings.Builder
	fmt.Fprintf(&b, "POTENTIAL DEADLOCK  %s", v.Headline())
	for i := range v.Orders {
		o := &v.Orders[i]
		if len(v.Services()) > 1 {
			fmt.Fprintf(&b, "\n\n  in           %s", words.OneLine(o.Service))
		} else {
			b.WriteByte('\n')
		}
		if isCall(o.Taken) {
			fmt.Fprintf(&b, "\n  calls        %q", o.TakenLabel())
		} else {
			fmt.Fprintf(&b, "\n  takes        %s %q", mode(o.TakenReads), o.TakenLabel())
		}
		if !o.TakenAt.IsZero() {
			fmt.Fprintf(&b, "\n  at           %s", words.Place(o.TakenAt))
		}
		if isCall(o.Held) {
			fmt.Fprintf(&b, "\n  answering in %q", o.HeldLabel())
		} else {
			fmt.Fprintf(&b, "\n  while holding %s %q", mode(o.HeldReads), o.HeldLabel())
		}
		if !o.HeldAt.IsZero() {
			fmt.Fprintf(&b, "\n  taken at     %s", words.Place(o.HeldAt))
		}
		fmt.Fprintf(&b, "\n  trace        %x", o.Task.Trace)
	}
	fmt.Fprintf(&b, "\n\n  what to do   %s", words.Wrap(v.Suggestion(), "               "))
	return b.String()
}

func mode(reads bool) string {
	if reads {
		return "read lock"
	}
	return "lock"
}
