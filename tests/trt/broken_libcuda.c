/* A CUDA driver that does not start. */
int cuInit(unsigned flags) { return 999; }
