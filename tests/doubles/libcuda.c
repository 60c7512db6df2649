/* A double of the CUDA driver API (libcuda.so.1) in host memory: compiled by the tests, never shipped.

   Stricter than a device where that finds faults. Work that is put on a stream waits until the stream is
   synchronised, so that a result read too soon is wrong. Every allocation lies between guard bytes and begins as
   NaN. Copies are held against the allocations' bounds, pageable memory is refused in asynchronous ones, and what
   is alive or was done wrong is counted. Own prototypes, no header of NVIDIA's. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Result;
typedef uint64_t Pointer;
typedef void (*HostFunction)(void *);
#define API __attribute__((visibility("default")))

enum { OK = 0, INVALID = 1, NO_MEMORY = 2, UNINITIALISED = 3, NO_DEVICE = 100, BAD_DEVICE = 101,
       BAD_CONTEXT = 201, BAD_HANDLE = 400, NOT_FOUND = 500, CAPTURE_UNSUPPORTED = 900,
       CAPTURE_INVALIDATED = 901 };
enum { CC_MAJOR = 75, CC_MINOR = 76, INTEGRATED = 18, CAN_MAP = 19, UNIFIED_ADDRESSING = 41 };
enum { MOST = 4096, GUARD = 64, GUARD_BYTE = 0xA5, FRESH_BYTE = 0xFF, DEEPEST = 16 };

typedef struct { Pointer at; size_t size; int is_host; } Block;
typedef struct { int is_call; Pointer to, from; size_t size; int value; HostFunction call; void *with; } Work;
typedef struct { Work *work; int count, room; } Queue;
typedef struct { Queue waiting, recorded; int capturing, broken; } Stream;

static Block blocks[MOST];
static int initialised, retained, streams, graphs, faults, allocations, fail_at, init_result;
static int integrated, capturable = 1, captures, launches;
static size_t used, limit = (size_t)1 << 30, to_host, to_device;
static __thread void *contexts[DEEPEST];
static __thread int depth;

static int fault(const char *what) {
    fprintf(stderr, "driver double: %s\n", what);
    faults++;
    return INVALID;
}

/* --- what the tests ask and set --- */

API int double_live(void) {
    int live = retained + streams + graphs;
    for (int i = 0; i < MOST; i++) live += blocks[i].size != 0;
    return live;
}

static int guards_hold(const Block *block) {
    const unsigned char *data = (const unsigned char *)block->at;
    for (int i = 1; i <= GUARD; i++)
        if (data[-i] != GUARD_BYTE || data[block->size + i - 1] != GUARD_BYTE) return 0;
    return 1;
}

API int double_faults(void) {
    int found = faults;
    for (int i = 0; i < MOST; i++) found += blocks[i].size && !guards_hold(&blocks[i]);
    return found;
}

API int double_is_initialised(void) { return initialised; }
API int double_has_context(void) { return retained > 0; }
API int double_is_idle(void) { return depth == 0; }
API int double_allocations(void) { return allocations; }
API int double_captures(void) { return captures; }
API int double_launches(void) { return launches; }
API size_t double_bytes_to_host(void) { return to_host; }
API size_t double_bytes_to_device(void) { return to_device; }
API void double_fail_allocation(int nth) { fail_at = nth ? allocations + nth : 0; }
API void double_fail_init(int result) { init_result = result; initialised = 0; }
API void double_set_limit(size_t size) { limit = size; }
API void double_set_integrated(int is) { integrated = is; }
API void double_set_capturable(int can) { capturable = can; }

static Block *block_of(Pointer at, size_t size) {
    for (int i = 0; i < MOST; i++) {
        Block *block = &blocks[i];
        if (block->size && at >= block->at && at + size <= block->at + block->size) return block;
    }
    return NULL;
}

API int double_holds(Pointer at, size_t size) { return block_of(at, size) != NULL; }

/* --- device and context --- */

API Result cuInit(unsigned flags) {
    if (init_result) return init_result;
    initialised = 1;
    return OK;
}
API Result cuDriverGetVersion(int *version) { *version = 12090; return OK; }
API Result cuDeviceGetCount(int *count) { *count = 1; return initialised ? OK : UNINITIALISED; }
API Result cuDeviceGet(int *device, int ordinal) {
    *device = 0;
    return !initialised ? UNINITIALISED : ordinal ? BAD_DEVICE : OK;
}
API Result cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "driver double"); return OK; }
API Result cuDeviceGetAttribute(int *value, int what, int device) {
    *value = what == CC_MAJOR ? 8 : what == CC_MINOR ? 7 : what == INTEGRATED ? integrated
           : what == CAN_MAP || what == UNIFIED_ADDRESSING;
    return OK;
}
API Result cuDeviceTotalMem_v2(size_t *size, int device) { *size = limit; return OK; }
API Result cuDevicePrimaryCtxRetain(void **context, int device) {
    if (!initialised) return UNINITIALISED;
    *context = &retained;
    retained++;
    return OK;
}
API Result cuDevicePrimaryCtxRelease_v2(int device) { return retained-- > 0 ? OK : BAD_CONTEXT; }
API Result cuCtxPushCurrent_v2(void *context) {
    if (depth == DEEPEST) return fault("contexts are pushed and never popped");
    contexts[depth++] = context;
    return OK;
}
API Result cuCtxPopCurrent_v2(void **context) {
    if (!depth) return BAD_CONTEXT;
    depth--;
    if (context) *context = contexts[depth];
    return OK;
}
API Result cuCtxGetCurrent(void **context) { *context = depth ? contexts[depth - 1] : NULL; return OK; }
API Result cuCtxSetCurrent(void *context) {
    depth = context != NULL;
    contexts[0] = context;
    return OK;
}
API Result cuCtxGetDevice(int *device) { *device = 0; return depth ? OK : BAD_CONTEXT; }
API Result cuCtxGetApiVersion(void *context, unsigned *version) { *version = 3020; return OK; }

/* --- memory --- */

static Result allocate(Pointer *at, size_t size, int is_host) {
    if (!depth) return BAD_CONTEXT;
    if (!size) return INVALID;
    allocations++;
    if ((fail_at && allocations >= fail_at) || used + size > limit) return NO_MEMORY;
    for (int i = 0; i < MOST; i++) {
        if (blocks[i].size) continue;
        unsigned char *data = malloc(size + 2 * GUARD);
        memset(data, GUARD_BYTE, size + 2 * GUARD);
        memset(data + GUARD, FRESH_BYTE, size);
        blocks[i] = (Block){(Pointer)(data + GUARD), size, is_host};
        used += size;
        *at = blocks[i].at;
        return OK;
    }
    return NO_MEMORY;
}
static Result release(Pointer at, int is_host) {
    if (!depth) return BAD_CONTEXT;
    Block *block = block_of(at, 1);
    if (!block || block->at != at || block->is_host != is_host) return fault("freed what is not allocated");
    if (!guards_hold(block)) fault("written outside of an allocation");
    memset((void *)at, FRESH_BYTE, block->size);
    free((void *)(at - GUARD));
    used -= block->size;
    block->size = 0;
    return OK;
}
API Result cuMemAlloc_v2(Pointer *at, size_t size) { return allocate(at, size, 0); }
API Result cuMemFree_v2(Pointer at) { return release(at, 0); }
API Result cuMemHostAlloc(void **at, size_t size, unsigned flags) { return allocate((Pointer *)at, size, 1); }
API Result cuMemAllocHost_v2(void **at, size_t size) { return allocate((Pointer *)at, size, 1); }
API Result cuMemFreeHost(void *at) { return release((Pointer)at, 1); }
API Result cuMemHostGetDevicePointer_v2(Pointer *device, void *host, unsigned flags) {
    *device = (Pointer)host;
    return block_of(*device, 1) ? OK : INVALID;
}
API Result cuMemGetInfo_v2(size_t *unused, size_t *total) {
    *total = limit;
    *unused = limit - used;
    return depth ? OK : BAD_CONTEXT;
}

/* --- streams: work waits until it is asked for --- */

static Result add(Stream *stream, Work work) {
    if (!stream) return fault("work on the default stream");
    Queue *queue = stream->capturing ? &stream->recorded : &stream->waiting;
    if (queue->count == queue->room) {
        queue->room = 2 * queue->room + 16;
        queue->work = realloc(queue->work, queue->room * sizeof(Work));
    }
    queue->work[queue->count++] = work;
    return OK;
}
static void run(Queue *queue) {
    for (int i = 0; i < queue->count; i++) {
        Work *work = &queue->work[i];
        if (work->is_call) work->call(work->with);
        else if (work->from) memmove((void *)work->to, (void *)work->from, work->size);
        else memset((void *)work->to, work->value, work->size);
    }
    queue->count = 0;
}
static Result copy(Stream *stream, Pointer to, Pointer from, size_t size, int to_is_host, int from_is_host) {
    Block *target = block_of(to, size), *origin = block_of(from, size);
    if (!depth) return BAD_CONTEXT;
    if (!target || !origin) return fault("a copy outside of device or pinned memory");
    if (target->is_host != to_is_host || origin->is_host != from_is_host) return fault("a copy the wrong way");
    return add(stream, (Work){.to = to, .from = from, .size = size});
}
API Result cuMemcpyHtoDAsync_v2(Pointer to, const void *from, size_t size, Stream *stream) {
    to_device += size;
    return copy(stream, to, (Pointer)from, size, 0, 1);
}
API Result cuMemcpyDtoHAsync_v2(void *to, Pointer from, size_t size, Stream *stream) {
    to_host += size;
    return copy(stream, (Pointer)to, from, size, 1, 0);
}
API Result cuMemcpyDtoDAsync_v2(Pointer to, Pointer from, size_t size, Stream *stream) {
    return copy(stream, to, from, size, 0, 0);
}
API Result cuLaunchHostFunc(Stream *stream, HostFunction call, void *with) {
    return add(stream, (Work){.is_call = 1, .call = call, .with = with});
}
API Result cuStreamCreate(Stream **stream, unsigned flags) {
    if (!depth) return BAD_CONTEXT;
    *stream = calloc(1, sizeof(Stream));
    streams++;
    return OK;
}
API Result cuStreamSynchronize(Stream *stream) {
    if (!depth) return BAD_CONTEXT;
    if (stream->capturing) { stream->broken = 1; return CAPTURE_UNSUPPORTED; }
    run(&stream->waiting);
    return OK;
}
API Result cuStreamDestroy_v2(Stream *stream) {
    if (stream->capturing) fault("a stream destroyed while it captures");
    free(stream->waiting.work);
    free(stream->recorded.work);
    free(stream);
    streams--;
    return OK;
}

/* --- graphs: work recorded once, put on a stream as often as wished --- */

API Result cuStreamBeginCapture_v2(Stream *stream, int mode) {
    if (!capturable) return CAPTURE_UNSUPPORTED;
    if (stream->capturing) return fault("a capture within a capture");
    stream->capturing = 1;
    stream->broken = 0;
    stream->recorded.count = 0;
    return OK;
}
API Result cuStreamIsCapturing(Stream *stream, int *is) { *is = stream->capturing; return OK; }
API Result cuStreamEndCapture(Stream *stream, Queue **graph) {
    if (!stream->capturing) return fault("the end of no capture");
    stream->capturing = 0;
    *graph = NULL;
    if (stream->broken) return CAPTURE_INVALIDATED;
    size_t size = stream->recorded.count * sizeof(Work);
    *graph = calloc(1, sizeof(Queue));
    (*graph)->count = stream->recorded.count;
    (*graph)->work = memcpy(malloc(size + 1), stream->recorded.work, size);
    graphs++;
    captures++;
    return OK;
}
API Result cuGraphInstantiateWithFlags(Queue **ready, Queue *graph, unsigned long long flags) {
    size_t size = graph->count * sizeof(Work);
    *ready = calloc(1, sizeof(Queue));
    (*ready)->count = graph->count;
    (*ready)->work = memcpy(malloc(size + 1), graph->work, size);
    graphs++;
    return OK;
}
static Result forget(Queue *graph) {
    free(graph->work);
    free(graph);
    graphs--;
    return OK;
}
API Result cuGraphDestroy(Queue *graph) { return forget(graph); }
API Result cuGraphExecDestroy(Queue *graph) { return forget(graph); }
API Result cuGraphLaunch(Queue *graph, Stream *stream) {
    launches++;
    for (int i = 0; i < graph->count; i++) add(stream, graph->work[i]);
    return OK;
}

/* --- names --- */

API Result cuGetErrorName(Result error, const char **name) {
    switch (error) {
    case OK: *name = "CUDA_SUCCESS"; break;
    case INVALID: *name = "CUDA_ERROR_INVALID_VALUE"; break;
    case NO_MEMORY: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
    case NO_DEVICE: *name = "CUDA_ERROR_NO_DEVICE"; break;
    case BAD_CONTEXT: *name = "CUDA_ERROR_INVALID_CONTEXT"; break;
    default: *name = "CUDA_ERROR_UNKNOWN";
    }
    return OK;
}
API Result cuGetErrorString(Result error, const char **text) { return cuGetErrorName(error, text); }

API Result cuGetProcAddress_v2(const char *name, void **found, int version, uint64_t flags, int *status) {
    static const char *const ends[] = {"_v2", "", "WithFlags"};
    Dl_info self;
    char whole[128];
    dladdr((void *)fault, &self);
    void *library = dlopen(self.dli_fname, RTLD_NOLOAD | RTLD_NOW);
    *found = NULL;
    for (int i = 0; i < 3 && !*found; i++) {
        snprintf(whole, sizeof whole, "%s%s", name, ends[i]);
        *found = dlsym(library, whole);
    }
    dlclose(library);
    if (status) *status = !*found;
    return *found ? OK : NOT_FOUND;
}
API Result cuGetProcAddress(const char *name, void **found, int version, uint64_t flags) {
    return cuGetProcAddress_v2(name, found, version, flags, NULL);
}
