/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * BPF try: may this process use BPF at all? Makes a one-byte map and loads a
 * program of two instructions, with the capabilities that the collectors use,
 * and closes both at once. So a task that cannot run is known before it starts,
 * with the name of what is in the way.
 */

#include <stddef.h>

#include "base/cleanup.h"

/* @btf_own, @btf_external: where the kernel's types are, and a file in their place (NULL = none). @words: what is missing, e.g. "CAP_PERFMON". Return: 0, -errno that BPF was refused with, and @words. */
int sonde_bpf_try(const char *btf_own, const char *btf_external, char *words,
		  size_t size) _must_check_;
