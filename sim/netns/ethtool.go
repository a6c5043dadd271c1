package netns

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// checksumInSoftware is "ethtool -K DEVICE tx off" in the calling thread's namespace. A veth pair
// otherwise leaves TCP and UDP checksums unfinished (there is no wire to protect), and a reader of
// the capture sees errors that are none; segmentation offload goes with it, so frames fit the MTU.
func checksumInSoftware(device string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	value := struct{ cmd, data uint32 }{cmd: unix.ETHTOOL_STXCSUM}
	var request struct { // struct ifreq
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(request.name[:unix.IFNAMSIZ-1], device)
	request.data = unsafe.Pointer(&value)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	runtime.KeepAlive(&value)
	if errno != 0 {
		return fmt.Errorf("ethtool -K %s tx off: %w", device, errno)
	}
	return nil
}
