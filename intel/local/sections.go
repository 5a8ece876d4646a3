package local

import (
	"bufio"
	"encoding/binary"
)

// A segmentWriter writes the sections of a segment one after the other.
type segmentWriter struct {
	w        *bufio.Writer
	at       uint64
	sections [numSections]span
	open     section
}

func (w *segmentWriter) Write(data []byte) (int, error) {
	n, err := w.w.Write(data)
	w.at += uint64(n)
	return n, err
}

// begin ends the section at hand and begins another, at a multiple of eight.
func (w *segmentWriter) begin(s section) {
	w.end()
	var zeros [8]byte
	_, _ = w.Write(zeros[:(8-w.at%8)%8]) // the writer keeps the error for the next write
	w.open = s
	w.sections[s].at = w.at
}

func (w *segmentWriter) end() { w.sections[w.open].size = w.at - w.sections[w.open].at }

// finish writes the footer.
func (w *segmentWriter) finish(m *merger) error {
	w.end()
	var footer []byte
	for _, s := range w.sections {
		footer = binary.LittleEndian.AppendUint64(footer, s.at)
		footer = binary.LittleEndian.AppendUint64(footer, s.size)
	}
	footer = binary.LittleEndian.AppendUint64(footer, m.names)
	footer = binary.LittleEndian.AppendUint64(footer, m.listed)
	footer = binary.LittleEndian.AppendUint64(footer, uint64(m.dirBits))
	if _, err := w.Write(footer); err != nil {
		return err
	}
	return w.w.Flush()
}
