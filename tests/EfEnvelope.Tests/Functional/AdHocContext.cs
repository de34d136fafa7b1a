using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;

namespace EfEnvelope.Tests.Functional;

/// <summary>A context whose model a test writes in place. Models are cached by the delegate that configures them.</summary>
public class AdHocContext(DbContextOptions options, Action<ModelBuilder> model, Action<ModelConfigurationBuilder>? conventions = null) : DbContext(options)
{
    internal Action<ModelBuilder> Configure => model;

    /// <summary>For <see cref="TestDatabase.Options"/>: models are told apart by their delegate.</summary>
    public static void Cached(DbContextOptionsBuilder builder) => builder.ReplaceService<IModelCacheKeyFactory, KeyFactory>();

    protected override void ConfigureConventions(ModelConfigurationBuilder configurationBuilder) => conventions?.Invoke(configurationBuilder);

    protected override void OnModelCreating(ModelBuilder modelBuilder) => model(modelBuilder);

    private sealed class KeyFactory : IModelCacheKeyFactory
    {
        public object Create(DbContext context, bool designTime) => context is AdHocContext adHoc ? (context.GetType(), adHoc.Configure, designTime) : (context.GetType(), designTime);
    }
}
