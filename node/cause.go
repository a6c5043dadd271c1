package node

import (
	"fmt"
	"time"
)

// causes numbers the events of a machine, so that whatever followed from one can be told to be one story: all entries of one
// Step have the same Cause, and Trigger says which event that was. A number is never used twice on a host: it
// is the event's instant in milliseconds, or one more than the last.
type causes struct {
	last    uint64
	event   Event
	adverts uint64
}

// begin comes before whatever follows from an event.
func (c *causes) begin(now time.Duration, ev Event) {
	c.last = max(c.last+1, uint64(now/time.Millisecond))
	c.event = ev
	if _, ok := ev.(Received); ok {
		c.adverts++
	}
}

// timer says that what follows comes of the time that has passed and not of the event.
func (c *causes) timer(now time.Duration) {
	if _, is := c.event.(Tick); !is {
		c.begin(now, Tick{})
	}
}

// mark writes into an entry what led to it.
func (c *causes) mark(e *Entry) { e.Cause, e.Trigger = c.last, c.trigger() }

// trigger describes the event. It is put into words only when an entry needs them, for most packets cause none.
func (c *causes) trigger() string {
	switch ev := c.event.(type) {
	case Tick:
		return "timer"
	case Configure:
		return ev.String()
	case Stage:
		return "a generation that is about to be activated"
	case Link:
		return "link " + ev.Name + " " + linkWord(ev)
	case Deaf:
		if ev.Why == "" {
			return fmt.Sprintf("socket (%v) on %s is open", ev.Socket, ev.Interface)
		}
		return fmt.Sprintf("socket (%v) on %s cannot be opened", ev.Socket, ev.Interface)
	case Received:
		return fmt.Sprintf("packet %d from %s on %s", c.adverts, ev.Packet.Src, ev.Interface)
	case Heard:
		return fmt.Sprintf("advert of VRID %d from %s on %s", ev.VRID, ev.Src, ev.Interface)
	case Claimed:
		return fmt.Sprintf("%s of %x for %s on %s", ev.What, ev.MAC, ev.Addr, ev.Interface)
	case Looped:
		return fmt.Sprintf("our own frame on %s", ev.Interface)
	case ScriptResult:
		return "script " + ev.Script + " " + ev.outcome()
	case FileNumber:
		return fmt.Sprintf("file %s %d", ev.File, ev.Number)
	case ProcessCount:
		return fmt.Sprintf("process %s %d running", ev.Process, ev.Running)
	case ProbeResult:
		return "probe " + string(ev.ID)
	case TableRead, TableFailed:
		return "table of the kernel"
	case Probation:
		return "crashes of the workers before"
	case Shutdown:
		return "stop"
	}
	return ""
}
