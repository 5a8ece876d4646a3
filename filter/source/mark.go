package source

import (
	"hash/crc32"
	"io"
	"os"
)

// A Mark says where in an output lines are to be written, and what they are: after a kill it tells whether they were.
type Mark struct {
	Output string `json:"output"` // the number of the file
	At     int64  `json:"at"`
	Length int64  `json:"length"`
	Sum    uint32 `json:"sum"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli) // the one that processors compute

// MarkOf returns the mark of data that is to be appended to a file.
func MarkOf(output *os.File, data []byte) (Mark, error) {
	info, err := output.Stat()
	if err != nil {
		return Mark{}, err
	}
	return Mark{fileNumber(info), info.Size(), int64(len(data)), crc32.Checksum(data, castagnoli)}, nil
}

// find reports whether the file at path holds what was marked; sure is false when it may hold a part of it, or when it is
// another file than the one that was written to. That others append to the same file does not deceive it.
func (m Mark) find(path string) (there, sure bool) {
	file, err := os.Open(path)
	if err != nil {
		return false, false
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || fileNumber(info) != m.Output {
		return false, false
	}
	if info.Size() <= m.At {
		return false, true
	}
	sum := crc32.New(castagnoli)
	n, err := io.Copy(sum, io.NewSectionReader(file, m.At, m.Length))
	there = err == nil && n == m.Length && sum.Sum32() == m.Sum
	return there, there
}
