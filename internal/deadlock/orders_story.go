package deadlock

import (
	"fmt"
	"strings"

	"github.com/asyncinspect/asyncinspect/internal/words"
)

// Names are the locks of the inversion, in its order.
func (v *Inversion) Names() []string {
	names := make([]string, 0, len(v.Orders))
	for _, o := range v.Orders {
		names = append(names, words.OneLine(o.Held))
	}
	return names
}

// CycleText tells the orders, a line for each.
func (v *Inversion) CycleText() string {
	var b strings.Builder
	for i, o := range v.Orders {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s takes %q%s while it holds %q%s", words.OneLine(o.Service), words.OneLine(o.Taken), placed(words.Place(o.TakenAt)),
			words.OneLine(o.Held), placed(words.Place(o.HeldAt)))
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
	return fmt.Sprintf("Take these locks in the same order everywhere, for example %s.", inOrder(v.Names()))
}

// Story tells a person at a terminal.
func (v *Inversion) Story() string {
	var b strings.Builder
	fmt.Fprintf(&b, "POTENTIAL DEADLOCK  %s takes the locks %s in orders that contradict each other; nothing hangs yet",
		words.OneLine(v.Orders[0].Service), quoted(v.Names()))
	for _, o := range v.Orders {
		fmt.Fprintf(&b, "\n\n  takes        %s %q", mode(o.TakenReads), words.OneLine(o.Taken))
		if !o.TakenAt.IsZero() {
			fmt.Fprintf(&b, "\n  at           %s", words.Place(o.TakenAt))
		}
		fmt.Fprintf(&b, "\n  while it has %s %q", mode(o.HeldReads), words.OneLine(o.Held))
		if !o.HeldAt.IsZero() {
			fmt.Fprintf(&b, "\n  taken at     %s", words.Place(o.HeldAt))
		}
		fmt.Fprintf(&b, "\n  trace        %x", o.Task.Trace)
	}
	fmt.Fprintf(&b, "\n\n  what to do   %s", v.Suggestion())
	return b.String()
}

func mode(reads bool) string {
	if reads {
		return "read lock"
	}
	return "lock"
}
