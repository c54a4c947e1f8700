/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Marker: how many transactions have been acknowledged, in a small file beside the database (FILE-commits). SQLite
 * cannot tell a write-ahead log that was deleted or cut from one that was never there, nor an older copy of a database from
 * the one it replaced: it goes on without what is missing. The database counts its transactions too (table progress); if
 * it knows of fewer than the marker, some are lost. Written behind each commit and not synced, so that after a power cut
 * it may lag, but is never ahead. Any thread.
 */

#include <stdint.h>

#include "base/cleanup.h"

/* 0 where there is none, or none that can be read: nothing is claimed then. Return: 0, -ENAMETOOLONG, -errno. */
int sonde_store_marker_read(const char *db_path, uint64_t *ret) _must_check_;

/* For sonde_store_marker_write(); made with mode 0600. Return: 0, -errno. */
int sonde_store_marker_open(const char *db_path, int *ret_fd) _must_check_;

/* A failure costs the claim alone. */
void sonde_store_marker_write(int fd, uint64_t commits);

/* To exactly this, synced: behind a restore. Return: 0, -errno. */
int sonde_store_marker_set(const char *db_path, uint64_t commits) _must_check_;
