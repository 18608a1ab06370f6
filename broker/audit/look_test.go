package audit_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"agentvault/broker/audit"
)

func (k *kit) look() audit.State {
	k.t.Helper()
	s, err := k.log.Look()
	if err != nil {
		k.t.Fatal(err)
	}
	return s
}

func TestLook(t *testing.T) {
	k := newKit(t, audit.Options{})
	if s := k.look(); s != (audit.State{Segments: 1}) {
		t.Errorf("an empty log: %+v", s)
	}
	k.appendMany(50)
	if s := k.look(); s.Problem != "" || s.Seq != 50 || s.Checked != 49 || !s.Time.Equal(epoch) || s.Segments != 1 {
		t.Errorf("fifty records: %+v", s)
	}
	k.appendMany(5000)
	if s := k.look(); s.Problem != "" || s.Seq != 5050 || s.Checked < 1000 || s.Checked > 5000 {
		t.Errorf("more than it reads: %+v", s)
	}
	blank := bytes.Repeat([]byte(" "), len(k.read("audit.log")))
	blank[len(blank)-1] = '\n'
	k.write("audit.log", blank)
	if s := k.look(); s.Problem == "" {
		t.Errorf("one long line: %+v", s)
	}
}

// Each change of the files that it reads is found, and is no more once it is
// mended.
func TestLookFinds(t *testing.T) {
	k := newKit(t, audit.Options{SegmentSize: 4000})
	k.appendMany(60)
	if s := k.look(); s.Problem != "" || s.Segments < 3 {
		t.Fatalf("%+v", s)
	}
	was := k.all()
	newest := k.read("audit.log")
	lines := bytes.SplitAfter(newest, []byte("\n"))
	if len(lines) < 4 {
		t.Fatalf("%d lines", len(lines))
	}
	for name, harm := range map[string]func(){
		"a byte":       func() { k.write("audit.log", bytes.Replace(newest, []byte("main"), []byte("mein"), 1)) },
		"lines moved":  func() { k.write("audit.log", bytes.Join([][]byte{lines[0], lines[2], lines[1]}, nil)) },
		"cut":          func() { k.write("audit.log", newest[:len(newest)-len(lines[len(lines)-2])]) },
		"emptied":      func() { k.write("audit.log", nil) },
		"another's":    func() { k.write("audit.log", bytes.Repeat([]byte("x"), len(newest))) },
		"gone":         func() { os.Remove(k.path) },
		"segment gone": func() { os.Remove(filepath.Join(k.dir, k.files()[1])) },
	} {
		harm()
		if s := k.look(); s.Problem == "" {
			t.Errorf("%s: %+v", name, s)
		}
		k.mend(was)
		if s := k.look(); s.Problem != "" {
			t.Fatalf("%s, mended: %+v", name, s)
		}
	}
}

func TestLookTellsOfLoss(t *testing.T) {
	k := newKit(t, audit.Options{})
	k.appendMany(3)
	k.o.Head = audit.Head{Seq: 7, MAC: "00"}
	k.open()
	if s := k.look(); s.Lost == nil || s.Lost.FromSeq != 4 || s.Lost.ToSeq != 7 || s.Seq != 8 || s.Problem != "" {
		t.Errorf("%+v %+v", s, s.Lost)
	}
}
