//go:build !unix

package cmd

func ignoreLimits() {}
