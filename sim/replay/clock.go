package replay

import "time"

// clock makes one monotonic time of the stamps of one capture interface. Several interfaces may have clocks of
// their own, and a file may be several that were put one behind the other.
type clock struct {
	last  time.Time     // the latest stamp since the last step
	now   time.Duration // since the first frame of the capture
	shift time.Duration // what the steps so far come to
	steps []step        // for the way back
}

type step struct{ at, shift time.Duration }

const (
	// stepBack tells a clock that was set back from frames that several buffers put out of order.
	stepBack = time.Second
	maxSteps = 1000
	// maxSince keeps sums of times within 64 bits, whatever a file says.
	maxSince = 100 * 365 * 24 * time.Hour
)

// read takes the stamp of the next frame; stepped says that the clock was set back before it.
func (c *clock) read(begin, stamp time.Time) (stepped bool) {
	since := sinceOf(begin, stamp)
	if c.last.IsZero() {
		c.now = since
	} else if c.last.Sub(stamp) > stepBack && len(c.steps) < maxSteps {
		c.shift = c.now - since // no time passes
		c.steps = append(c.steps, step{c.now, c.shift})
		c.last, stepped = stamp, true
	}
	if stamp.After(c.last) || c.last.IsZero() {
		c.last = stamp
	}
	c.now = max(c.now, min(since+c.shift, 2*maxSince))
	return stepped
}

func sinceOf(begin, stamp time.Time) time.Duration {
	return min(max(stamp.Sub(begin), -maxSince), maxSince)
}

// instant is the stamp of the frame that was read at this time.
func (c *clock) instant(begin time.Time, at time.Duration, n int) Instant {
	shift := time.Duration(0)
	for _, s := range c.steps {
		if at < s.at {
			break
		}
		shift = s.shift
	}
	return Instant{N: n, Time: begin.Add(at - shift)}
}
