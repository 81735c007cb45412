// A team of threads that go through one function together, and share the pieces of each of its phases.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace sovitsd {

class Team {
 public:
  /// Throws std::system_error when there are no more threads.
  explicit Team(int threads) : threads_(std::max(1, threads)) {
    try {
      for (int number = 1; number < threads_; number++) pool_.emplace_back([this, number] { serve(number); });
    } catch (...) {
      stop();
      throw;
    }
  }
  ~Team() { stop(); }
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int threads() const { return threads_; }

  /// Run `work(number)` on every thread, the caller's among them, and return when all have ended. It must not throw.
  /// One caller after the other.
  void run(const std::function<void(int)>& work) {
    std::lock_guard<std::mutex> turn(callers_);
    if (threads_ > 1) {
      {
        std::lock_guard<std::mutex> lock(mutex_);
        work_ = &work;
        ended_.store(0, std::memory_order_relaxed);
        turn_++;
      }
      start_.notify_all();
    }
    work(0);
    for (int spins = 0; ended_.load(std::memory_order_acquire) != threads_ - 1; spins++) wait_a_little(spins);
  }

  /// Share the numbers below `total` in pieces, each to the thread that comes first: a core that is busy elsewhere does
  /// less. Every thread calls this in the same order. Returns when all pieces are done.
  template <class Function>
  void share(int total, int piece, Function function) {
    if (threads_ == 1) {
      function(0, total);
      return;
    }
    const int phase = phase_.load(std::memory_order_relaxed);
    std::atomic<int>& next = next_[phase & 1].value;
    for (int first; (first = next.fetch_add(piece, std::memory_order_relaxed)) < total;)
      function(first, std::min(total, first + piece));
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == threads_ - 1) {
      arrived_.store(0, std::memory_order_relaxed);
      next.store(0, std::memory_order_relaxed);
      phase_.store(phase + 1, std::memory_order_release);
    } else {
      for (int spins = 0; phase_.load(std::memory_order_acquire) == phase; spins++) wait_a_little(spins);
    }
  }

 private:
  struct alignas(64) Counter {
    std::atomic<int> value{0};
  };

  /// Spin, and after a while give the core away: a busy machine must not be made busier.
  static void wait_a_little(int spins) {
    if (spins > 2000) {
      std::this_thread::yield();
      return;
    }
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  void stop() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    start_.notify_all();
    for (std::thread& thread : pool_) thread.join();
  }

  void serve(int number) {
    for (unsigned long seen = 0;;) {
      const std::function<void(int)>* work;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        start_.wait(lock, [&] { return turn_ != seen || stopping_; });
        if (stopping_) return;
        seen = turn_;
        work = work_;
      }
      (*work)(number);
      ended_.fetch_add(1, std::memory_order_release);
    }
  }

  const int threads_;
  std::vector<std::thread> pool_;
  std::mutex callers_;
  std::mutex mutex_;
  std::condition_variable start_;
  unsigned long turn_ = 0;
  bool stopping_ = false;
  const std::function<void(int)>* work_ = nullptr;
  std::atomic<int> ended_{0};
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int> phase_{0};
  Counter next_[2];
};

/// The process's team of so many threads, which all decoders share and which stays: they would only wait for one another.
/// Throws std::system_error.
Team& shared_team(int threads);

}  // namespace sovitsd
