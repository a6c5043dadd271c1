package host

import (
	"fmt"
	"os"
	"syscall"
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

// alarm rings at an instant of the driver's clock. Go's own timers are rounded to milliseconds on their way through epoll(7), wake up
// twice for that, and do not count the time of a suspension.
type alarm struct {
	C    chan struct{} // it rang, or has been set to another instant just as it did
	f    *os.File      // of timerfd_create(2)
	rc   syscall.RawConn
	at   time.Duration
	wait bool // for at
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("timer: %w", err)
	}
	a := &alarm{C: make(chan struct{}, 1), f: os.NewFile(uintptr(fd), "timer")}
	if a.rc, err = a.f.SyscallConn(); err != nil {
		_ = a.f.Close()
		return nil, fmt.Errorf("timer: %w", err)
	}
	go func() {
		var times [8]byte
		for {
			if _, err := a.f.Read(times[:]); err != nil {
				return
			}
			select {
			case a.C <- struct{}{}:
			default:
			}
		}
	}()
	return a, nil
}

// Set has it ring at an instant, at once when that is over.
func (a *alarm) Set(at time.Duration) {
	if a.wait && a.at == at {
		return
	}
	a.at, a.wait = at, true
	t := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(1, at)))} // 0 would be never
	var err error
	if e := a.rc.Control(func(fd uintptr) { err = unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME, &t, nil) }); e != nil || err != nil {
		panic(fmt.Sprintf("timerfd_settime: %v, %v", e, err)) // cannot be: the descriptor and the time are right
	}
}

// Rang says whether the instant it was set to has come, after C. It has to be set again then.
func (a *alarm) Rang() bool {
	if !a.wait || instant() < a.at {
		return false
	}
	a.wait = false
	return true
}

func (a *alarm) Close() { _ = a.f.Close() }

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
