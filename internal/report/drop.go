package report

// Drop says why a report span was not used. Used is the one value that says it was.
type Drop uint8

// The reasons, a closed list: they are the values of a metric's attribute.
const (
	Used           Drop = iota
	DropVersion         // the scope's version is not the protocol version
	DropIdentity        // the resource does not name a process
	DropKind            // no report kind, or an unknown one
	DropMissing         // a required attribute is absent
	DropType            // an attribute has the wrong type
	DropValue           // an attribute has an impossible value
	DropTime            // a time is impossible, or more than MaxClockError from the process's clock
	DropSpanID          // a trace id, span id or parent span id is empty
	DropTooLong         // an array is longer than the protocol allows
	DropNewProcess      // a report of a process that found no room
	DropClaimed         // its task belongs to another process, or its wait to another task
	Drops               // the number of values, for tables indexed by Drop
)

var dropNames = [Drops]string{
	"used", "version", "identity", "kind", "missing_attribute", "wrong_type",
	"impossible_value", "time", "span_id", "too_long", "process_limit", "claimed",
}

func (d Drop) String() string { return dropNames[d] }
