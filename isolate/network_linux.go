package isolate

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// listen brings loopback up, which is all the network that there is, and
// listens at the addresses.
func listen(addresses []string) (fds []int, err error) {
	control, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(control)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return nil, err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(control, unix.SIOCSIFFLAGS, lo); err != nil {
		return nil, fmt.Errorf("loopback: %w", err)
	}
	for n, text := range addresses {
		a, err := netip.ParseAddrPort(text)
		if err != nil {
			return nil, err
		}
		if !a.Addr().IsLoopback() {
			if err := own(control, n, a.Addr()); err != nil {
				return nil, fmt.Errorf("%s: %w", text, err)
			}
		}
		fd, err := listenAt(a)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

// own makes an IPv4 address one of loopback's.
func own(control, n int, a netip.Addr) error {
	alias, err := unix.NewIfreq(fmt.Sprintf("lo:%d", n+1))
	if err != nil {
		return err
	}
	if err := alias.SetInet4Addr(a.AsSlice()); err != nil {
		return err
	}
	return unix.IoctlIfreq(control, unix.SIOCSIFADDR, alias)
}

func listenAt(a netip.AddrPort) (fd int, err error) {
	family, address := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()})
	if a.Addr().Is4() {
		family, address = unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	if fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return 0, err
	}
	if err = unix.Bind(fd, address); err != nil {
		return 0, err
	}
	return fd, unix.Listen(fd, unix.SOMAXCONN)
}
