using EfEnvelope.Infrastructure;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;

namespace EfEnvelope;

/// <summary>The options' side of envelope encryption.</summary>
public static class EnvelopeDbContextOptionsExtensions
{
    /// <summary>
    /// Encrypts the model's encrypted properties. Call it after the database provider. No I/O: the key service is first called when a value is written or read. A further call (<c>OnConfiguring</c> after <c>AddDbContext</c>,
    /// <c>ConfigureDbContext</c>) adds to what the former ones set: it replaces what it names, and leaves the rest.
    /// </summary>
    /// <param name="optionsBuilder">The context's options.</param>
    /// <param name="configure">Chooses the key service and the policy.</param>
    /// <returns>The same builder.</returns>
    /// <exception cref="EnvelopeConfigurationException">The provider is not relational, or registered after this call; raised when the context is first used.</exception>
    public static DbContextOptionsBuilder UseEnvelopeEncryption(this DbContextOptionsBuilder optionsBuilder, Action<EnvelopeOptionsBuilder> configure)
    {
        ArgumentNullException.ThrowIfNull(optionsBuilder);
        ArgumentNullException.ThrowIfNull(configure);
        var builder = optionsBuilder.Options.FindExtension<EnvelopeOptionsExtension>()?.CopyBuilder() ?? new EnvelopeOptionsBuilder();
        configure(builder);
        ((IDbContextOptionsBuilderInfrastructure)optionsBuilder).AddOrUpdateExtension(new EnvelopeOptionsExtension(builder));
        return optionsBuilder;
    }

    /// <summary>Encrypts the model's encrypted properties. Call it after the database provider. A further call adds to what the former ones set.</summary>
    /// <typeparam name="TContext">The context's type.</typeparam>
    /// <param name="optionsBuilder">The context's options.</param>
    /// <param name="configure">Chooses the key service and the policy.</param>
    /// <returns>The same builder.</returns>
    public static DbContextOptionsBuilder<TContext> UseEnvelopeEncryption<TContext>(this DbContextOptionsBuilder<TContext> optionsBuilder, Action<EnvelopeOptionsBuilder> configure)
        where TContext : DbContext
        => (DbContextOptionsBuilder<TContext>)UseEnvelopeEncryption((DbContextOptionsBuilder)optionsBuilder, configure);
}
