/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Lock: one server a state folder. Two on the same database would each hand out
 * the other's tasks and count the other's reports as missing. An flock on
 * <state>/lock, which the kernel drops with its holder, however that ends; the
 * holder's pid in the file is for words only.
 */

#include <sys/types.h>

#include "base/cleanup.h"

#define SONDE_STORE_LOCK_FILE "lock"

/*
 * Holds the folder until *@ret_fd is closed. Return: 0, -EBUSY (another process holds it: *@ret_holder is its
 * pid, 0 if it did not say), -errno of the file.
 */
int sonde_store_lock(const char *state_dir, int *ret_fd, pid_t *ret_holder) _must_check_;
