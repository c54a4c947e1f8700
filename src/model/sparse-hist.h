/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Sparse histogram: the buckets of a struct sonde_tcp_hist that are not empty,
 * ascending. A cell fills a few dozen of its 640. Owner frees; one thread.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "bpf/tcp/tcp_types.h"

struct sonde_sparse_pair {
	uint32_t bucket; /* below SONDE_HIST_BUCKETS */
	uint64_t count;
};

struct sonde_sparse_hist {
	struct sonde_sparse_pair *pairs; /* owned */
	size_t n;
	size_t cap;
};

/* Frees the pairs; the histogram can be used again. NULL is fine. */
void sonde_sparse_hist_done(struct sonde_sparse_hist *h);
#define _cleanup_sparse_hist_ _cleanup_(sonde_sparse_hist_done)

/* The histogram's count of @bucket becomes @count. Return: 0, -EINVAL (no such bucket), -ENOMEM. */
int sonde_sparse_hist_set(struct sonde_sparse_hist *h, uint32_t bucket,
			  uint64_t count) _must_check_;
/* … grows by @count. */
int sonde_sparse_hist_add(struct sonde_sparse_hist *h, uint32_t bucket,
			  uint64_t count) _must_check_;
/* Adds all of @from. */
int sonde_sparse_hist_merge(struct sonde_sparse_hist *h,
			    const struct sonde_sparse_hist *from) _must_check_;
/* @h, which must be empty, becomes a copy of @from. */
int sonde_sparse_hist_copy(struct sonde_sparse_hist *h,
			   const struct sonde_sparse_hist *from) _must_check_;

/*
 * Adds @now - @then to @h. The kernel's counts are 32 bits wide and wrap: the difference of each bucket
 * is taken modulo 2^32. @then may be NULL: everything is new. Return: 0, -ENOMEM.
 */
int sonde_sparse_hist_add_difference(struct sonde_sparse_hist *h,
				     const struct sonde_sparse_hist *now,
				     const struct sonde_sparse_hist *then) _must_check_;
