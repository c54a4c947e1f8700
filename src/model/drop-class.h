/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Drop class: what a kernel drop reason means to a person. kfree_skb fires for
 * much that is no loss (a normal close, a duplicate after a spurious probe);
 * only class LOSS is SkyWalking's drop counter.
 */

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
