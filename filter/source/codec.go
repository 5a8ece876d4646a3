package source

import (
	"bufio"
	"compress/bzip2"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds what a zstd file can make its reader hold, in bytes: what zstd -d takes without being told more.
const maxWindow = 128 << 20

// A decompressor returns the content of r and what releases its memory. It reads concatenated members as one.
type decompressor func(r *bufio.Reader) (content io.Reader, closer func() error, err error)

// codecs lists how compressed files begin; '?' stands for a digit. The longer a magic, the fewer files of text are
// mistaken: gzip's includes its only method, bzip2's the mark of the first block or of the end.
var codecs = []struct {
	magic      string
	decompress decompressor
}{
	{"\x1f\x8b\x08", gunzip},
	{"\x28\xb5\x2f\xfd", unzstd},
	{"\x50\x2a\x4d\x18", unzstd}, // a skippable frame, with which pzstd begins
	{"BZh?1AY&SY", bunzip2},
	{"BZh?\x17rE8P\x90", bunzip2},
}

// codecOf returns what decompresses a file that begins with head, or nil; undecided says that more bytes are needed.
func codecOf(head []byte) (decompress decompressor, undecided bool) {
	for _, c := range codecs {
		n := min(len(head), len(c.magic))
		switch {
		case !fits(head[:n], c.magic[:n]):
		case n == len(c.magic):
			return c.decompress, false
		default:
			undecided = true
		}
	}
	return nil, undecided
}

func fits(head []byte, magic string) bool {
	for i, b := range head {
		if magic[i] != b && (magic[i] != '?' || b < '1' || b > '9') {
			return false
		}
	}
	return true
}

func gunzip(r *bufio.Reader) (io.Reader, func() error, error) {
	content, err := gzip.NewReader(r)
	if err != nil {
		return nil, nil, err
	}
	return content, content.Close, nil
}

// unzstd decodes ahead, on goroutines of the decoder. On one goroutine (concurrency 1) it is twice as fast, but
// keeps the last block to itself when the checksum fails: that is all of a small file.
func unzstd(r *bufio.Reader) (io.Reader, func() error, error) {
	content, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, nil, err
	}
	return content, content.IOReadCloser().Close, nil
}

func bunzip2(r *bufio.Reader) (io.Reader, func() error, error) {
	return bzip2.NewReader(r), func() error { return nil }, nil
}
