package main

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strconv"

	"github.com/zeebo/xxh3"
)

// version is a number of 128 bits, written as 32 hexadecimal digits.
type version struct{ high, low uint64 }

func (v version) String() string { return fmt.Sprintf("%016x%016x", v.high, v.low) }

func (v version) plus(other version) version {
	low, carry := bits.Add64(v.low, other.low, 0)
	high, _ := bits.Add64(v.high, other.high, carry)
	return version{high, low}
}

func parseVersion(text string) (version, error) {
	if len(text) != 32 {
		return version{}, fmt.Errorf("%.40q is not 32 hexadecimal digits", text)
	}
	high, err := strconv.ParseUint(text[:16], 16, 64)
	if err != nil {
		return version{}, err
	}
	low, err := strconv.ParseUint(text[16:], 16, 64)
	return version{high, low}, err
}

// share is what a resource adds to its collection's version: the hash of its name, with its length before it, and of its
// own version.
func share(name string, of version) version {
	bytes := make([]byte, 0, 8+len(name)+16)
	bytes = append(bytes, little(uint64(len(name)))...)
	bytes = append(bytes, name...)
	bytes = append(bytes, little(of.low)...)
	bytes = append(bytes, little(of.high)...)
	sum := xxh3.Hash128(bytes)
	return version{sum.Hi, sum.Lo}
}

func little(n uint64) []byte {
	var bytes [8]byte
	binary.LittleEndian.PutUint64(bytes[:], n)
	return bytes[:]
}

// collectionVersion is the sum of the shares of all that is held: name to version.
func collectionVersion(held map[string]string) (string, error) {
	var sum version
	for name, text := range held {
		of, err := parseVersion(text)
		if err != nil {
			return "", fmt.Errorf("version of %s: %v", name, err)
		}
		sum = sum.plus(share(name, of))
	}
	return sum.String(), nil
}
