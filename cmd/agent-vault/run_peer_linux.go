package main

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// sameUser refuses a connection over loopback that another user has opened. The
// kernel says whose a socket is (proc_net(5)): that of the other side stands in
// the same tables. Programs that use IPv6 sockets for IPv4 are in the second.
func sameUser(c net.Conn) error {
	theirs, err1 := netip.ParseAddrPort(c.RemoteAddr().String())
	ours, err2 := netip.ParseAddrPort(c.LocalAddr().String())
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	uid, err := ownerOfSocket("/proc/net/tcp", socketRow(theirs), socketRow(ours))
	if errors.Is(err, errNoSocket) {
		uid, err = ownerOfSocket("/proc/net/tcp6", socketRow6(theirs), socketRow6(ours))
	}
	if err != nil {
		return fmt.Errorf("whose it is cannot be told: %w", err)
	}
	if self := os.Geteuid(); uid != self {
		return fmt.Errorf("it is user %d's, and this one is %d", uid, self)
	}
	return nil
}

const stateConnecting = "02" // TCP_SYN_SENT

var errNoSocket = errors.New("it is closed again")

// ownerOfSocket looks for a socket by its own address and the other side's. One
// without an inode has been left by its process, and shows root as its user; one
// that is still connecting is not the one that we have accepted.
func ownerOfSocket(table, local, remote string) (uid int, err error) {
	f, err := os.Open(table)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …
		row := strings.Fields(lines.Text())
		if len(row) < 10 || row[1] != local || row[2] != remote || row[3] == stateConnecting || row[9] == "0" {
			continue
		}
		return strconv.Atoi(row[7])
	}
	return 0, errors.Join(errNoSocket, lines.Err())
}

// socketRow spells an IPv4 address as the kernel does: words of the machine's
// own byte order, in hexadecimal.
func socketRow(a netip.AddrPort) string {
	ip := a.Addr().Unmap().As4()
	return rowWord(ip[:]) + rowPort(a)
}

// socketRow6 spells it as mapped into IPv6.
func socketRow6(a netip.AddrPort) string {
	ip := a.Addr().As16()
	var b strings.Builder
	for word := range 4 {
		b.WriteString(rowWord(ip[4*word:][:4]))
	}
	return b.String() + rowPort(a)
}

func rowWord(b []byte) string {
	var word [4]byte
	binary.BigEndian.PutUint32(word[:], binary.NativeEndian.Uint32(b))
	return strings.ToUpper(hex.EncodeToString(word[:]))
}

func rowPort(a netip.AddrPort) string { return fmt.Sprintf(":%04X", a.Port()) }
