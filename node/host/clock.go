package host

import (
	"time"

	"golang.org/x/sys/unix"

	"quorate/config"
)

// instant is the driver's clock: time since boot, counting suspension, so that a machine
// that was asleep knows for how long; nobody can set it.
func instant() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("CLOCK_BOOTTIME: " + err.Error()) // there since Linux 2.6.39
	}
	return time.Duration(ts.Nano())
}

// wall is the wall time of an instant, as the wall clock stands now.
func wall(at time.Duration) time.Time { return time.Now().Add(at - instant()).Round(time.Millisecond) }

// lateAfter is how late a deadline may be served before it is worth a line in the log, unless adverts come more often.
const lateAfter = 100 * time.Millisecond

// shortestInterval is the shortest advert interval of a configuration, but not more than most.
func shortestInterval(c *config.Config, most time.Duration) time.Duration {
	for _, i := range c.Instances {
		most = min(most, i.AdvertInt.V)
	}
	return most
}
