/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What this kernel can do, asked apart from the collector: the list of numbers that
 * may be absent, each with the feature whose lack is the only excuse.
 */

#include <stdbool.h>

/*
 * Whether the running kernel has what measuring @metrics (words of the collector's plan) takes. What is not in
 * the list may never be absent: true.
 */
bool feature_is_here(const char *metrics);
/* The same for what the first alternative of the plan takes, where a later one gives less. */
bool feature_best_is_here(const char *metrics);
/* Whether the running kernel's BTF knows that tracepoint. */
bool feature_has_tracepoint(const char *name);
/* Whether that tracepoint has an argument of that type ("struct sock *" is "sock"), counted from 0. */
bool feature_tracepoint_has(const char *name, unsigned int argument, const char *type);
/* Whether BPF programs of the running kernel have that helper (enum bpf_func_id). */
bool feature_has_function(const char *name);
