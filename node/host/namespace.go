package host

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"quorate/config"
	"quorate/ipvs"
	"quorate/ipvs/kernel"
)

// netnsDir is where ip-netns(8) keeps the namespaces that have a name.
const netnsDir = "/run/netns"

// envNamespace names the namespace that a process has entered.
const envNamespace = "CLUSTERD_NETNS"

// EnterNamespace brings this whole process into a network namespace (net_namespace). A process with many threads cannot change
// its own, so one thread goes there and executes the program again; what was inherited stays open. The second time it returns nil.
// It comes before anything is opened. An empty name is the namespace this process was started in.
func EnterNamespace(name string) error {
	if name == "" || os.Getenv(envNamespace) == name {
		return os.Unsetenv(envNamespace)
	}
	if err := os.Setenv(envNamespace, name); err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread() // nothing happened if it gets there
	if err := setNamespace(name); err != nil {
		return err
	}
	return fmt.Errorf("net_namespace %s: %w", name, syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
}

// setNamespace moves the calling thread. A name with a slash is a file.
func setNamespace(name string) error {
	path := name
	if !strings.Contains(name, "/") {
		path = filepath.Join(netnsDir, name)
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("net_namespace %s: this host has no such network namespace: make it with \"ip netns add %s\", or correct the name", name, name)
	}
	if err != nil {
		return fmt.Errorf("net_namespace %s: %w", name, err)
	}
	defer func() { _ = f.Close() }()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("net_namespace %s: enter %s: %w", name, path, err)
	}
	return nil
}

// InNamespace runs f on a thread that is in another network namespace; what f opens stays there. An empty name is this one.
func InNamespace(name string, f func() error) error {
	if name == "" {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, wherever it is by then
		if err := setNamespace(name); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// IPVSIn opens the table of the namespace that net_namespace_ipvs names; nil: the one that the checker is in.
func IPVSIn(namespace string, v config.Value[string]) func(*slog.Logger) (ipvs.Backend, error) {
	where := v.V
	switch {
	case !v.Set || v.V == namespace || v.V == "" && namespace == "":
		return nil
	case v.V == "":
		where = fmt.Sprintf("/proc/%d/ns/net", os.Getppid()) // the watchdog enters none
	}
	return func(log *slog.Logger) (b ipvs.Backend, err error) {
		err = InNamespace(where, func() error { b, err = kernel.Open(log); return err })
		return b, err
	}
}

// NetworksIn is Networks of a network namespace.
func NetworksIn(name string) (list map[string][]netip.Prefix, err error) {
	err = InNamespace(name, func() (err error) { list, err = Networks(); return err })
	return list, err
}

// refuseNamespace refuses a configuration for another namespace than the one this worker is in (keepalived: not at a reload).
func (w *worker) refuseNamespace(next *config.Config) error {
	g := &next.Global
	if w.forced || g.NetNamespace.V == w.namespace && (w.worker != "checker" || g.NetNamespaceIPVS == w.ipvsNamespace) {
		return nil
	}
	return fmt.Errorf("net_namespace and net_namespace_ipvs cannot change while clusterd runs, from %q to %q: restart it on this director", w.namespace, g.NetNamespace.V)
}
