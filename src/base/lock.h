/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Lock: one process a folder, by an flock on a file of it, which the kernel
 * drops with its holder, however that ends. The holder's pid in the file is for
 * words only. Any thread.
 */

#include <sys/types.h>

#include "base/cleanup.h"

/*
 * Holds @dir_path by its file @name (made if it is not there) until *@ret_fd is closed. Return: 0, -EBUSY (another
 * process holds it: *@ret_holder is its pid, 0 if it did not say), -errno of the file.
 */
int sonde_lock_dir(const char *dir_path, const char *name, int *ret_fd,
		   pid_t *ret_holder) _must_check_;
