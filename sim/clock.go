package sim

import "time"

// clock is a monotonic clock: it read mono when the world's time was world, and since then
// runs ppm parts per million too fast.
type clock struct {
	world, mono time.Duration
	ppm         int64
}

const million = 1_000_000

// at returns what the clock reads at a time of the world.
func (c clock) at(world time.Duration) time.Duration {
	d := int64(world - c.world)
	// Split, for nanoseconds times ppm would overflow within a day.
	return c.mono + time.Duration(d+d/million*c.ppm+d%million*c.ppm/million)
}

// when returns the first instant of the world at which the clock reads mono or more.
func (c clock) when(mono time.Duration) time.Duration {
	d := int64(mono - c.mono)
	rate := million + c.ppm
	world := c.world + time.Duration(d/rate*million+d%rate*million/rate)
	// What the divisions cut off is a nanosecond or two.
	for c.at(world) < mono {
		world++
	}
	for c.at(world-1) >= mono {
		world--
	}
	return world
}

// mono is what the host's monotonic clock reads now.
func (h *Host) mono() time.Duration { return h.clock.at(h.w.now) }

// setDrift changes the clock's speed from now on; it does not jump.
func (h *Host) setDrift(ppm int64) {
	h.clock = clock{world: h.w.now, mono: h.mono(), ppm: ppm}
	if h.proc != nil {
		h.arm(h.proc)
	}
	if h.checks != nil {
		h.armWorker(h.checks)
	}
	if h.store != nil && h.store.rep != nil {
		h.store.wakeAt = 0
		h.store.arm()
	}
}
