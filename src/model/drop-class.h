/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Drop class: what a kernel drop reason means to a person. kfree_skb fires for
 * much that is no loss (a normal close, a duplicate after a spurious probe);
 * only class LOSS is SkyWalking's drop counter.
 */

#include <stddef.h>

enum sonde_drop_class {
	SONDE_DROP_LOSS = 0,
	SONDE_DROP_DUPLICATE = 1,
	SONDE_DROP_REFUSED = 2,
	SONDE_DROP_TEARDOWN = 3,
	SONDE_DROP_UNCLASSIFIED = 4,
	_SONDE_DROP_CLASS_MAX,
};

/* "loss", "duplicate", "refused", "teardown", "unclassified". */
const char *sonde_drop_class_name(enum sonde_drop_class c);

/* @reason: the kernel's name without SKB_DROP_REASON_, e.g. "NETFILTER_DROP". Unknown names are UNCLASSIFIED. */
enum sonde_drop_class sonde_drop_class_of(const char *reason);

/*
 * The class of a drop of @reason, which is of class @c, by the kernel's function @site, "" where that is not known: of
 * some functions it tells more than the reason does. Else @c.
 */
enum sonde_drop_class sonde_drop_class_at(enum sonde_drop_class c, const char *reason,
					  const char *site);

/* What happened to it, in words, and the likely cause with where to look. NULL, both, of a reason that is unknown. */
const char *sonde_drop_means(const char *reason, const char **ret_cause);

/* The same of a drop by the function @site, "" where that is not known. */
const char *sonde_drop_means_at(const char *reason, const char *site, const char **ret_cause);

/* The @i-th reason that is known, in the order of strcmp(); NULL behind the last. */
const char *sonde_drop_reason_at(size_t i);
