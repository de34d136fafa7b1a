using EfEnvelope.JobProcess.Load;
using EfEnvelope.Reencryption;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.Reencryption;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.Time.Testing;

namespace EfEnvelope.Tests.Hosting;

/// <summary>What a schedule may say, in code and in configuration; told when the host starts.</summary>
public sealed class ScheduleOptionsTests
{
    public static TheoryData<string, Action<ReencryptionScheduleOptions>> OutOfRange => new()
    {
        { "Interval", o => o.Interval = TimeSpan.FromSeconds(59) },
        { "Interval", o => o.Interval = TimeSpan.FromDays(8) },
        { "Jitter", o => o.Jitter = TimeSpan.FromTicks(-1) },
        { "Jitter", o => o.Jitter = TimeSpan.FromHours(13) },
        { "MaximumProofAge", o => o.MaximumProofAge = TimeSpan.FromMinutes(59) },
        { "QuarantineInterval", o => o.QuarantineInterval = TimeSpan.Zero },
        { "Window", o => o.Window = new ReencryptionWindow(default, default, null!) },
        { "Job.Window", o => o.Job = new ReencryptionOptions { Window = ReencryptionWindow.Parse("22:00-05:00") } },
        { "Job is missing", o => o.Job = null! },
        { "BatchSize", o => o.Job = new ReencryptionOptions { BatchSize = 0 } },
    };

    [Theory]
    [MemberData(nameof(OutOfRange))]
    public async Task An_option_out_of_its_range_keeps_the_host_from_starting_and_is_named(string names, Action<ReencryptionScheduleOptions> configure)
    {
        using var host = Build(services => services.AddEnvelopeReencryption<LoadContext>(configure));
        var error = await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => host.StartAsync());
        Assert.Contains(names, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_section_sets_what_it_names_and_code_has_the_last_word()
    {
        var section = Section(("Interval", "02:00:00"), ("Window", "22:00-05:00 Europe/Zurich"), ("Job:BatchSize", "500"), ("Job:UnitLease", "00:02:00"), ("Job:MaxRowsPerSecond", "9"));
        using var host = Build(services => services.AddEnvelopeReencryption<LoadContext>(section, o => o.Job = o.Job with { MaxRowsPerSecond = 10 }));
        var options = host.Services.GetRequiredService<IOptionsMonitor<ReencryptionScheduleOptions>>().Get(typeof(LoadContext).FullName);
        Assert.Equal(
            (TimeSpan.FromHours(2), ReencryptionWindow.Parse("22:00-05:00 Europe/Zurich"), TimeSpan.FromMinutes(1), 500, TimeSpan.FromMinutes(2), 10, 20_000),
            (options.Interval, options.Window, options.Jitter, options.Job.BatchSize, options.Job.UnitLease, options.Job.MaxRowsPerSecond, options.Job.UnitSize));
    }

    [Theory]
    [InlineData("Intervall", "02:00:00", "Intervall")]
    [InlineData("Job:BatchSiz", "5", "BatchSiz")]
    [InlineData("Interval", "soon", "Interval")]
    [InlineData("Window", "at night", "22:00-05:00")]
    [InlineData("Job", "fast", "Reencryption:Job is a section")]
    [InlineData("Other", null, "empty or does not exist")]
    public async Task A_section_that_cannot_be_read_keeps_the_host_from_starting_and_is_named(string key, string? value, string says)
    {
        using var host = Build(services => services.AddEnvelopeReencryption<LoadContext>(value is null ? new ConfigurationBuilder().Build().GetSection("Reencryption") : Section((key, value))));
        var error = await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => host.StartAsync());
        Assert.Contains("'Reencryption'", error.Message, StringComparison.Ordinal);
        Assert.Contains(says, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_second_call_adds_options_and_no_second_service()
    {
        using var host = Build(services => services
            .AddEnvelopeReencryption<LoadContext>(o => (o.Interval, o.Jitter) = (TimeSpan.FromHours(3), TimeSpan.Zero))
            .AddEnvelopeReencryption<LoadContext>(o => o.Interval = TimeSpan.FromHours(4)));
        Assert.Single(host.Services.GetServices<IHostedService>());
        var options = host.Services.GetRequiredService<IOptionsMonitor<ReencryptionScheduleOptions>>().Get(typeof(LoadContext).FullName);
        Assert.Equal((TimeSpan.FromHours(4), TimeSpan.Zero), (options.Interval, options.Jitter));
    }

    /// <summary>On one clock for schedule and job: the run ends with the window, the next night's goes on.</summary>
    [Fact]
    public async Task A_run_begins_in_its_window_ends_with_it_and_is_taken_up_in_the_next()
    {
        await using var database = await TestDatabase.CreateAsync("SQLite");
        var clock = new FakeTimeProvider(database.Time.GetUtcNow());
        await using (var context = new LoadContext(database.Options(e => e.UseTimeProvider(clock))))
        {
            await context.Database.EnsureCreatedAsync();
            context.AddRange(Enumerable.Range(0, 40).Select(n => new Item { Id = n, Number = n, TenantId = 1, First = $"f{n}" }));
            await context.SaveChangesAsync();
            await Retirement.RotateAllAsync(context, "test");
        }

        clock.Advance(TimeSpan.FromHours(12));

        var committed = 0;
        var timers = new CountedTimers(clock);
        using var host = Build(services =>
        {
            services.AddSingleton<TimeProvider>(timers);
            services.AddScoped(_ => new LoadContext(database.Options(e => e.UseTimeProvider(clock))));
            services.AddEnvelopeReencryption<LoadContext>(o =>
            {
                (o.Jitter, o.Window) = (TimeSpan.Zero, ReencryptionWindow.Parse("22:00-05:00 Europe/Zurich"));
                o.Job = JobFaultTests.Small with
                {
                    BatchSize = 10, CutOffTimeout = TimeSpan.Zero,
                    FaultPoint = step =>
                    {
                        if (step == JobStep.Committed && ++committed == 2)
                        {
                            clock.Advance(TimeSpan.FromHours(7));
                        }

                        return ValueTask.CompletedTask;
                    },
                };
            });
        });
        var schedule = host.Services.GetRequiredService<ReencryptionSchedule<LoadContext>>();
        schedule.RequestRun();
        await host.StartAsync();
        var evening = DateTimeOffset.Parse("2026-01-01T21:00:00Z", System.Globalization.CultureInfo.InvariantCulture);

        // The first ends with the request, which comes outside of the window; the clock is put forward once the second one waits for the window.
        await UntilAsync(() => schedule.Status.NextRunAt == evening && timers.Made == 2);
        clock.Advance(TimeSpan.FromHours(8));
        await UntilAsync(() => schedule.Status.NextRunAt == evening);
        Assert.Null(schedule.Status.LastStartedAt);

        clock.Advance(TimeSpan.FromHours(1));
        await UntilAsync(() => schedule.Status is { LastOutcome: ReencryptionOutcome.Stopped, IsRunning: false });
        Assert.Equal(2, committed);
        Assert.Equal(evening, schedule.Status.LastStartedAt);
        await UntilAsync(() => schedule.Status.NextRunAt == evening + TimeSpan.FromDays(1));

        clock.Advance(evening + TimeSpan.FromDays(1) - clock.GetUtcNow());
        await UntilAsync(() => schedule.Status is { LastReport: not null, IsRunning: false });
        Assert.Equal((evening + TimeSpan.FromDays(1), 20L, 0L), (schedule.Status.LastStartedAt, schedule.Status.LastReport!.Rows, schedule.Status.LastReport.Census.StaleCells));
        await host.StopAsync();
    }

    private sealed class CountedTimers(TimeProvider inner) : TimeProvider
    {
        private int _made;

        public int Made => Volatile.Read(ref _made);

        public override TimeZoneInfo LocalTimeZone => inner.LocalTimeZone;

        public override long TimestampFrequency => inner.TimestampFrequency;

        public override DateTimeOffset GetUtcNow() => inner.GetUtcNow();

        public override long GetTimestamp() => inner.GetTimestamp();

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            var timer = inner.CreateTimer(callback, state, dueTime, period);
            Interlocked.Increment(ref _made);
            return timer;
        }
    }

    private static async Task UntilAsync(Func<bool> isReached)
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromMinutes(2));
        while (!isReached())
        {
            await Task.Delay(5, patience.Token);
        }
    }

    private static IHost Build(Action<IServiceCollection> configure)
    {
        var builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings { DisableDefaults = true });
        configure(builder.Services);
        return builder.Build();
    }

    private static IConfigurationSection Section(params (string Key, string Value)[] values)
        => new ConfigurationBuilder().AddInMemoryCollection(values.Select(v => KeyValuePair.Create($"Reencryption:{v.Key}", (string?)v.Value))).Build().GetSection("Reencryption");
}
